// Package slowdisk simulates a slow disk for measurements and tests. It delays commits that
// wait for the disk, but not reads and other commits: for SQLite by a VFS with a slower xSync,
// for PostgreSQL by a proxy that delays COMMIT if the server would wait for its log. Both count
// the waits.
package slowdisk

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLiteDisk is the simulated disk of all SQLite files that the process opens after the first
// call of [SQLite].
type SQLiteDisk struct {
	delay, syncs, writes atomic.Int64
}

// SQLite installs the disk, once per process, and returns it.
func SQLite() (*SQLiteDisk, error) { return installed() }

// SetDelay sets the additional duration of each wait for the disk.
func (d *SQLiteDisk) SetDelay(delay time.Duration) { d.delay.Store(int64(delay)) }

// Syncs returns the number of times that SQLite has waited for the disk.
func (d *SQLiteDisk) Syncs() int64 { return d.syncs.Load() }

// Writes returns the number of writes of SQLite to files. A page of its log takes two.
func (d *SQLiteDisk) Writes() int64 { return d.writes.Load() }

// The functions of a VFS, in Go's translation of C (sqlite3.h, sqlite3_vfs and
// sqlite3_io_methods).
type (
	openFunc  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	syncFunc  = func(tls *libc.TLS, file uintptr, flags int32) int32
	writeFunc = func(tls *libc.TLS, file, data uintptr, size int32, offset int64) int32
)

var (
	disk     SQLiteDisk
	original *sqlite3.Tsqlite3_vfs
	slow     sqlite3.Tsqlite3_vfs // a variable of the package: it does not move
	name     = [...]byte{'s', 'l', 'o', 'w', 'd', 'i', 's', 'k', 0}

	methodsMu sync.Mutex
	methods   = make(map[uintptr]fileMethods) // by the address of the original methods, and by the address of our copy
)

// fileMethods are the methods of one kind of file and our copy of them, in memory that SQLite
// allocates and Go does not manage.
type fileMethods struct{ original, ours uintptr }

var installed = sync.OnceValues(func() (*SQLiteDisk, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	found := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if found == 0 {
		return nil, errors.New("slowdisk: SQLite has no VFS")
	}
	original = at[sqlite3.Tsqlite3_vfs](found)
	slow = *original
	slow.FpNext = 0
	slow.FzName = addressOf(&name)
	slow.FxOpen = pointerTo[openFunc](open)
	if code := sqlite3.Xsqlite3_vfs_register(tls, addressOf(&slow), 1); code != sqlite3.SQLITE_OK {
		return nil, errors.New("slowdisk: SQLite does not take the VFS")
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

// addressOf returns the address of a variable for SQLite. It must be a package variable, which does
// not move and is not collected.
func addressOf[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) } //nolint:gosec // see above

// at returns a pointer to the value at an address of SQLite.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) } //nolint:gosec // SQLite's memory

// functionAt returns the function at an address of SQLite.
func functionAt[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&address)) } //nolint:gosec // as the translation of SQLite does

// pointerTo returns the address of a function for SQLite.
func pointerTo[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) } //nolint:gosec // as the translation of SQLite does
