package service

import "context"

// LoadCosts does what is done every ten seconds.
func (s *Service) LoadCosts(ctx context.Context) error { return s.loadCosts(ctx) }
