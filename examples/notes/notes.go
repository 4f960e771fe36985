package main

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/chassi-go/chassi"
)

type (
	AddNoteRequest struct {
		Text string `json:"text" validate:"required,max=1000"`
	}
	NotesRequest struct{}
	Notes        struct {
		Email string   `json:"email"`
		Notes []string `json:"notes"`
	}
)

var ErrFull = chassi.NewError(chassi.ResourceExhausted, "too_many_notes", "There are too many notes")

// Service is the interface of the service.
type Service interface {
	AddNote(ctx context.Context, r *AddNoteRequest) (*Notes, error)
	Notes(ctx context.Context, r *NotesRequest) (*Notes, error)
}

// Endpoints returns the endpoints of the service, which call the methods of s.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("notes.v1.Notes",
		chassi.NewEndpoint("AddNote", s.AddNote, chassi.Route("POST /v1/notes"), chassi.Authenticated, chassi.Status(http.StatusCreated),
			chassi.Errors(ErrFull)),
		chassi.NewEndpoint("Notes", s.Notes, chassi.Route("GET /v1/notes"), chassi.Authenticated, chassi.Idempotent),
	)
}

// maxOwn and maxAll limit the number of notes of one account and of all accounts together, and
// thereby the memory that the notes use.
const maxOwn, maxAll = 100, 10_000

// notebook implements [Service]. It stores the notes of each e-mail address in memory.
type notebook struct {
	mu    sync.Mutex
	notes map[string][]string
	all   int
}

func (b *notebook) AddNote(ctx context.Context, r *AddNoteRequest) (*Notes, error) {
	email := chassi.PrincipalFrom(ctx).Name
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes[email]) >= maxOwn || b.all >= maxAll {
		return nil, ErrFull
	}
	if b.notes == nil {
		b.notes = make(map[string][]string)
	}
	b.notes[email] = append(b.notes[email], r.Text)
	b.all++
	return &Notes{Email: email, Notes: slices.Clone(b.notes[email])}, nil
}

func (b *notebook) Notes(ctx context.Context, _ *NotesRequest) (*Notes, error) {
	email := chassi.PrincipalFrom(ctx).Name
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Notes{Email: email, Notes: slices.Clone(b.notes[email])}, nil
}
