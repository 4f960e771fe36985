package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

// handwritten returns the handler that is the baseline of the benchmark: net/http and encoding/json
// without middleware.
func handwritten(validate func(token string) (email string, err error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, pingResponse{Message: "pong"})
	})
	mux.HandleFunc("POST /v1/validate-token", func(w http.ResponseWriter, r *http.Request) {
		var request validateRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			respond(w, http.StatusBadRequest, map[string]string{"error": "malformed JSON"})
			return
		}
		email, err := validate(request.Token)
		if err != nil {
			respond(w, http.StatusUnauthorized, map[string]string{"error": "invalid token"})
			return
		}
		respond(w, http.StatusOK, emailResponse{Email: email})
	})
	return mux
}

func respond(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// serveHandwritten serves the baseline, with the same validation of tokens as the other variants,
// until SIGTERM or SIGINT arrives.
func serveHandwritten(ctx context.Context, addr string, t *tokens) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Addr: addr, ReadHeaderTimeout: 5 * time.Second, Handler: handwritten(func(token string) (string, error) {
		response, err := t.validate(ctx, &validateRequest{Token: token})
		if err != nil {
			return "", err
		}
		return response.Email, nil
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// trivial accepts every token that is not empty. The in-process comparison uses it to measure only
// the overhead around the validation.
func trivial(token string) (string, error) {
	if token == "" {
		return "", errInvalidToken
	}
	return "user@example.com", nil
}
