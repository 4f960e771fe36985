package service

import "context"

// LoadCosts runs the job that runs every ten seconds.
func (s *Service) LoadCosts(ctx context.Context) error { return s.loadCosts(ctx) }

// Hashed returns the number of hashes computed.
func (s *Service) Hashed() int64 { return s.hashed.Load() }

// PollKeys runs the job that runs every three seconds.
func (s *Service) PollKeys(ctx context.Context) error { return s.pollKeys(ctx) }

// CleanUp runs the job that runs every ten minutes.
func (s *Service) CleanUp(ctx context.Context) error { return s.cleanUp(ctx) }
