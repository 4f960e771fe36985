// Package slowdisk simulates a slow disk for measurements and tests. It adds a delay only where a
// database waits for the disk. For SQLite, it installs a VFS with a slower xSync. For PostgreSQL,
// it starts a proxy that delays a COMMIT if the server waits for its log. Both count the waits.
package slowdisk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLiteDisk is the simulated disk of all SQLite files that the process opens after the first call
// to [SQLite].
type SQLiteDisk struct {
	delay, syncs, writes atomic.Int64
}

// SQLite installs the simulated disk in this process and returns it. Later calls return the same
// disk. It returns an error if SQLite has no default VFS or rejects the slow VFS.
func SQLite() (*SQLiteDisk, error) { return installed() }

// SetDelay sets the additional duration of each wait for the disk.
func (d *SQLiteDisk) SetDelay(delay time.Duration) { d.delay.Store(int64(delay)) }

// Syncs returns the number of times that SQLite has waited for the disk.
func (d *SQLiteDisk) Syncs() int64 { return d.syncs.Load() }

// Writes returns the number of times that SQLite has written to a file. A page of the write-ahead
// log takes two writes.
func (d *SQLiteDisk) Writes() int64 { return d.writes.Load() }

// Signatures of the functions of a VFS (sqlite3.h, sqlite3_vfs and sqlite3_io_methods) in the
// translation of SQLite from C to Go.
type (
	openFunc  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	syncFunc  = func(tls *libc.TLS, file uintptr, flags int32) int32
	writeFunc = func(tls *libc.TLS, file, data uintptr, size int32, offset int64) int32
)

var (
	disk     SQLiteDisk
	original *sqlite3.Tsqlite3_vfs
	slow     sqlite3.Tsqlite3_vfs // a package variable, because it must not move
	name     = [...]byte{'s', 'l', 'o', 'w', 'd', 'i', 's', 'k', 0}

	methodsMu sync.Mutex
	methods   = make(map[uintptr]fileMethods) // by the address of the original and by that of the copy
)

// fileMethods contains the addresses of the original methods of one kind of file and of their
// modified copy. The copy is in memory that package libc allocates and Go does not manage.
type fileMethods struct{ original, ours uintptr }

var installed = sync.OnceValues(func() (*SQLiteDisk, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	found := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if found == 0 {
		return nil, errors.New("slowdisk: SQLite has no default VFS")
	}
	original = at[sqlite3.Tsqlite3_vfs](found)
	slow = *original
	slow.FpNext = 0
	slow.FzName = addressOf(&name)
	slow.FxOpen = pointerTo[openFunc](open)
	if code := sqlite3.Xsqlite3_vfs_register(tls, addressOf(&slow), 1); code != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("slowdisk: SQLite rejected the slow VFS with code %d", code)
	}
	return &disk, nil
})

func open(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	code := functionAt[openFunc](original.FxOpen)(tls, addressOf(original), name, file, flags, outFlags)
	if f := at[sqlite3.Tsqlite3_file](file); code == sqlite3.SQLITE_OK && f.FpMethods != 0 {
		f.FpMethods = methodsOf(f.FpMethods).ours
	}
	return code
}

func methodsOf(p uintptr) fileMethods {
	methodsMu.Lock()
	defer methodsMu.Unlock()
	if m, ok := methods[p]; ok {
		return m
	}
	tls := libc.NewTLS()
	defer tls.Close()
	m := fileMethods{original: p, ours: libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))}
	copied := at[sqlite3.Tsqlite3_io_methods](m.ours)
	*copied = *at[sqlite3.Tsqlite3_io_methods](p)
	copied.FxSync = pointerTo[syncFunc](syncFile)
	copied.FxWrite = pointerTo[writeFunc](write)
	methods[m.original], methods[m.ours] = m, m
	return m
}

// originalOf returns the original methods of an open file.
func originalOf(file uintptr) *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](methodsOf(at[sqlite3.Tsqlite3_file](file).FpMethods).original)
}

func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	disk.syncs.Add(1)
	if delay := time.Duration(disk.delay.Load()); delay > 0 {
		time.Sleep(delay)
	}
	return functionAt[syncFunc](originalOf(file).FxSync)(tls, file, flags)
}

func write(tls *libc.TLS, file, data uintptr, size int32, offset int64) int32 {
	disk.writes.Add(1)
	return functionAt[writeFunc](originalOf(file).FxWrite)(tls, file, data, size, offset)
}

// addressOf returns the address of a variable that SQLite uses. The variable must be a package
// variable or be in the memory of SQLite, so that it is neither moved nor collected.
func addressOf[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) } //nolint:gosec // see above

// at returns a pointer to the value at an address in the memory of SQLite.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) } //nolint:gosec // SQLite's memory

// functionAt returns the Go function for a function pointer of SQLite.
func functionAt[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&address)) } //nolint:gosec // as the translation of SQLite does

// pointerTo returns the address of a Go function in the form that SQLite expects.
func pointerTo[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) } //nolint:gosec // as the translation of SQLite does
