package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/examples/orders/queries"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// carriesFiles reports whether the transport under test carries files.
func carriesFiles(t *testing.T) bool {
	t.Helper()
	return strings.HasSuffix(t.Name(), "/http") || strings.HasSuffix(t.Name(), "/local")
}

func (c caller) attach(id string, r PutAttachmentRequest) (*Attachment, error) {
	c.t.Helper()
	r.ID = id
	return client.Invoke[Attachment](c.t.Context(), c.client(""), "PutAttachment", &r)
}

// attachment returns the file of an order and its content.
func (c caller) attachment(id string) (chassi.File, []byte, error) {
	c.t.Helper()
	r, err := client.Invoke[AttachmentFile](c.t.Context(), c.client(""), "GetAttachment", &OrderRequest{ID: id})
	if err != nil {
		return chassi.File{}, nil, err
	}
	defer r.File.Reader.(io.Closer).Close()
	content, err := io.ReadAll(r.File.Reader)
	return r.File, content, err
}

func randomBytes(n int) (content []byte, digest string) {
	content = make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = source.Read(content)
	sum := sha256.Sum256(content)
	return content, hex.EncodeToString(sum[:])
}

// Over every transport that carries files, the customer of an order attaches one, replaces it, and
// gets it back. Others do not see it, and what is too large or differs from its checksum is
// refused and not stored.
func TestAttachment(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c caller, _ *warehouse) {
		if !carriesFiles(t) {
			return
		}
		id := c.mustCreate(1).ID
		if _, _, err := c.attachment(id); !errors.Is(err, ErrNoAttachment) {
			t.Errorf("before: %v", err)
		}
		for i, size := range []int{0, 1, 2*partBytes + 1000} {
			content, digest := randomBytes(size)
			status := http.StatusOK
			if i == 0 {
				status = http.StatusCreated
			}
			want := Attachment{Location: "/v1/orders/" + id + "/attachment", Status: status, Name: "bill.pdf", Type: "application/pdf", Size: int64(size), SHA256: digest}
			r := PutAttachmentRequest{SHA256: digest, File: chassi.File{Reader: bytes.NewReader(content), Name: "../x/bill.pdf", Type: "application/pdf"}}
			if got, err := c.attach(id, r); err != nil || *got != want {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
			f, got, err := c.attachment(id)
			if err != nil || !bytes.Equal(got, content) || f.Name != want.Name || f.Type != want.Type || f.ETag != digest || f.Size != int64(size) || time.Since(f.ModTime) > time.Minute {
				t.Errorf("%d bytes: %+v, %d bytes, %v", size, f, len(got), err)
			}
		}
		large := chassi.File{Reader: io.LimitReader(rand.NewChaCha8([32]byte{}), maxAttachment+1)}
		_, tooLarge := c.attach(id, PutAttachmentRequest{File: large})
		_, wrong := c.attach(id, PutAttachmentRequest{SHA256: strings.Repeat("0", 64), File: chassi.File{Reader: strings.NewReader("x")}})
		_, other := c.as("eve").attach(id, PutAttachmentRequest{File: chassi.File{Reader: strings.NewReader("x")}})
		_, _, read := c.as("eve").attachment(id)
		_, _, anonymous := c.as("").attachment(id)
		for reason, err := range map[string]error{
			"body_too_large": tooLarge, ErrChecksum.Reason: wrong, ErrNotFound.Reason: errors.Join(other, read), "unauthenticated": anonymous,
		} {
			if e := chassi.ErrorOf(err); err == nil || e.Reason != reason {
				t.Errorf("%v, want %s", err, reason)
			}
		}
		if f, _, err := c.attachment(id); err != nil || f.Size != 2*partBytes+1000 {
			t.Errorf("after refusals: %d bytes, %v", f.Size, err)
		}
	})
}

// Content of earlier and of refused uploads is deleted, and with an order its attachment.
func TestAttachmentsAreDeleted(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		o := open(t, url, newWarehouse(t))
		count := func() (n int) {
			must(t, o.store.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM attachment_parts").Scan(&n))
			return n
		}
		insert := func(order, version string, content io.Reader) error {
			_, err := o.store.InsertAttachment(t.Context(), &queries.Attachment{OrderID: order, Version: version}, content)
			return err
		}
		now := time.Now()
		must(t, o.store.Insert(t.Context(), Order{ID: "a", Status: cancelled, Created: now.Add(-2 * retention)}))
		must(t, o.store.Insert(t.Context(), Order{ID: "b", Status: shipped, Created: now}))
		must(t, insert("a", "1", strings.NewReader("first")))
		must(t, insert("a", "2", strings.NewReader("second")))
		must(t, insert("b", "3", strings.NewReader("third")))
		cut := errors.New("the upload was cut off")
		if err := insert("b", "4", io.MultiReader(bytes.NewReader(make([]byte, partBytes)), failing{cut})); !errors.Is(err, cut) || count() != 2 {
			t.Errorf("%v, %d parts", err, count())
		}
		must(t, o.store.queries.InsertPart(t.Context(), queries.InsertPartParams{Version: "crashed", Content: []byte("x")}))
		must(t, o.Purge(t.Context()))
		if _, err := o.store.Attachment(t.Context(), "a"); !errors.Is(err, ErrNoAttachment) || count() != 1 {
			t.Errorf("%v, %d parts", err, count())
		}
		if _, err := o.store.Attachment(t.Context(), "b"); err != nil {
			t.Error(err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Orders are exported page by page, oldest first, over every transport that carries files.
func TestExportOrders(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c caller, _ *warehouse) {
		if !carriesFiles(t) {
			return
		}
		const orders = 101 // more than a page
		want := []string{"id,product,quantity,total,status,created"}
		for range orders {
			o := c.mustCreate(2)
			want = append(want, strings.Join([]string{o.ID, "tea", "2", "700", pending, o.Created.Format(time.RFC3339)}, ","))
		}
		export := func(c caller, status string) (string, chassi.File) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := client.Invoke[Export](ctx, c.client(""), "ExportOrders", &ExportRequest{Status: status})
			must(t, err)
			defer r.File.Reader.(io.Closer).Close()
			text, err := io.ReadAll(r.File.Reader)
			must(t, err)
			return string(text), r.File
		}
		text, file := export(c, "")
		if text != strings.Join(want, "\n")+"\n" || file.Name != "orders.csv" || file.Type != "text/csv; charset=utf-8" {
			t.Errorf("%+v:\n%s\nwant\n%s", file, text, strings.Join(want, "\n"))
		}
		for _, none := range []func() (string, chassi.File){
			func() (string, chassi.File) { return export(c, shipped) }, func() (string, chassi.File) { return export(c.as("eve"), "") },
		} {
			if text, _ := none(); text != want[0]+"\n" {
				t.Errorf("want no orders:\n%s", text)
			}
		}
	})
}
