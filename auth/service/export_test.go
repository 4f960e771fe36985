package service

import "context"

// LoadCosts does what is done every ten seconds.
func (s *Service) LoadCosts(ctx context.Context) error { return s.loadCosts(ctx) }

// Hashed returns how many hashes have been computed.
func (s *Service) Hashed() int64 { return s.hashed.Load() }

// PollKeys does what is done every three seconds.
func (s *Service) PollKeys(ctx context.Context) error { return s.pollKeys(ctx) }

// TidyUp does what is done every ten minutes.
func (s *Service) TidyUp(ctx context.Context) error { return s.tidy(ctx) }
