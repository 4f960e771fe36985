package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/examples/orders/queries"
)

// maxAttachment is the maximum size of an upload, in bytes.
const maxAttachment = 5 << 20

var (
	ErrNoAttachment = chassi.NewError(chassi.NotFound, "attachment_not_found", "The order has no attachment")
	ErrChecksum     = chassi.NewError(chassi.InvalidArgument, "wrong_checksum", "The file does not have the SHA-256 digest in the request")
)

type (
	PutAttachmentRequest struct {
		ID     string      `json:"id" path:"id" validate:"required,max=64"`
		SHA256 string      `json:"sha256" validate:"max=64" doc:"The digest of the file in hexadecimal, if it is to be checked."`
		File   chassi.File `json:"file" doc:"The file; it replaces an earlier one."`
	}
	Attachment struct {
		Location string `json:"location" header:"Location"`
		Status   int    `json:"-" status:"200,201"` // 201 for the first file of an order
		Name     string `json:"name"`
		Type     string `json:"type"`
		Size     int64  `json:"size"`
		SHA256   string `json:"sha256"`
	}
	AttachmentFile struct {
		File chassi.File `json:"file"`
	}
)

// PutAttachment stores a file as the attachment of an order of the caller, in place of an earlier
// attachment, and returns a description of the file. It returns ErrNotFound for an order that is
// not the caller's, and ErrChecksum if the file does not have the digest in the request.
func (o *Orders) PutAttachment(ctx context.Context, r *PutAttachmentRequest) (*Attachment, error) {
	order, err := o.GetOrder(ctx, &OrderRequest{ID: r.ID})
	if err != nil {
		return nil, err
	}
	a := queries.Attachment{
		OrderID: order.ID, Version: rand.Text(), Name: cmp.Or(r.File.Name, "attachment"), Type: r.File.Type, Sha256: strings.ToLower(r.SHA256),
		CreatedAt: time.Now().UnixMicro(),
	}
	replaced, err := o.store.InsertAttachment(ctx, &a, r.File.Reader)
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	if replaced {
		status = http.StatusOK
	}
	return &Attachment{
		Location: "/v1/orders/" + order.ID + "/attachment", Status: status,
		Name: a.Name, Type: a.Type, Size: a.Size, SHA256: a.Sha256,
	}, nil
}

// GetAttachment returns the file of an order of the caller. The file is read from the database
// while it is sent. GetAttachment returns ErrNotFound for an order that is not the caller's, and
// ErrNoAttachment for an order without a file.
func (o *Orders) GetAttachment(ctx context.Context, r *OrderRequest) (*AttachmentFile, error) {
	order, err := o.GetOrder(ctx, r)
	if err != nil {
		return nil, err
	}
	a, err := o.store.Attachment(ctx, order.ID)
	if err != nil {
		return nil, err
	}
	content := &parts{get: func(n int64) ([]byte, error) { return o.store.Part(ctx, a.Version, n) }}
	return &AttachmentFile{chassi.File{
		Reader: io.NewSectionReader(content, 0, a.Size), Name: a.Name, Type: a.Type, ETag: a.Sha256,
		ModTime: time.UnixMicro(a.CreatedAt),
	}}, nil
}

// partBytes is the size in bytes of the parts in which the content of a file is stored, so that
// only one part at a time is in memory.
const partBytes = 256 << 10

// parts is an [io.ReaderAt] of the stored parts of a file. It is not safe for concurrent use.
type parts struct {
	get    func(n int64) ([]byte, error)
	number int64 // number of part
	part   []byte
}

// ReadAt implements [io.ReaderAt].
func (p *parts) ReadAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		if number := offset / partBytes; p.part == nil || number != p.number {
			if p.part, err = p.get(number); err != nil {
				return n, err
			}
			p.number = number
		}
		copied := copy(b[n:], p.part[min(offset%partBytes, int64(len(p.part))):])
		if copied == 0 {
			return n, io.ErrUnexpectedEOF
		}
		n, offset = n+copied, offset+int64(copied)
	}
	return n, nil
}

// InsertAttachment stores content, and then a as the attachment of the order of a. It sets the size
// and the digest of a, and returns ErrChecksum if a already has a different digest. It reports
// whether it has replaced an earlier attachment, whose parts it deletes. The new parts are not
// stored in a transaction, which would last as long as the upload: Purge deletes the parts that a
// crash leaves behind.
func (s *Store) InsertAttachment(ctx context.Context, a *queries.Attachment, content io.Reader) (replaced bool, err error) {
	if err = s.insertParts(ctx, a, content); err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			q := queries.New(tx.DBTX())
			earlier, err := q.GetAttachment(ctx, a.OrderID)
			if replaced = err == nil; replaced {
				err = q.DeleteParts(ctx, earlier.Version)
			}
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			return q.SetAttachment(ctx, queries.SetAttachmentParams(*a))
		})
	}
	if err != nil {
		_ = s.queries.DeleteParts(context.WithoutCancel(ctx), a.Version) // or else Purge does it
	}
	return replaced, err
}

func (s *Store) insertParts(ctx context.Context, a *queries.Attachment, content io.Reader) error {
	hash := sha256.New()
	var part bytes.Buffer
	for n := int64(0); ; n++ {
		part.Reset()
		size, err := part.ReadFrom(io.LimitReader(content, partBytes))
		if err != nil {
			return err // refuses the call with the right status
		}
		if size == 0 {
			digest := hex.EncodeToString(hash.Sum(nil))
			if a.Sha256 != "" && a.Sha256 != digest {
				return ErrChecksum
			}
			a.Sha256 = digest
			return nil
		}
		hash.Write(part.Bytes())
		a.Size += size
		err = s.queries.InsertPart(ctx, queries.InsertPartParams{Version: a.Version, Part: n, Content: part.Bytes(), CreatedAt: a.CreatedAt})
		if err != nil {
			return err
		}
	}
}

// Attachment returns the attachment of an order or ErrNoAttachment.
func (s *Store) Attachment(ctx context.Context, order string) (queries.Attachment, error) {
	a, err := s.queries.GetAttachment(ctx, order)
	if errors.Is(err, sql.ErrNoRows) {
		return a, ErrNoAttachment
	}
	return a, err
}

// Part returns part n, counted from 0, of the content of a version of an attachment.
func (s *Store) Part(ctx context.Context, version string, n int64) ([]byte, error) {
	return s.queries.GetPart(ctx, queries.GetPartParams{Version: version, Part: n})
}

// DeleteUnusedAttachments deletes attachments without an order, and the parts that were stored
// before the given time and belong to no attachment.
func (s *Store) DeleteUnusedAttachments(ctx context.Context, before time.Time) error {
	if err := s.queries.DeleteAttachmentsWithoutOrder(ctx); err != nil {
		return err
	}
	return s.queries.DeleteUnusedParts(ctx, before.UnixMicro())
}
