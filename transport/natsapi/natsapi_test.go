package natsapi_test

func serveChild() {}
