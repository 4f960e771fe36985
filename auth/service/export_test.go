package service

import "context"

// LoadCosts does what is done every ten seconds.
func (s *Service) LoadCosts(ctx context.Context) error { return s.loadCosts(ctx) }

// Hashed returns how many hashes have been computed.
func (s *Service) Hashed() int64 { return s.hashed.Load() }
