package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"
)

// Credentials is the path of a directory with the keys of the clients that may connect to a
// [Server]. The directory contains two files for the client NAME:
//
//   - NAME.pub has the public key of the client. The server reads only this file.
//   - NAME.nk has the seed of the private key of the client, and is readable only by its owner. It
//     should be moved to the machine of the client, for use with nats --nkey NAME.nk or with the
//     setting nkey_file of package natsapi.
//
// Clients can be added and removed while the server runs. The server applies a change within about
// a second.
type Credentials string

// Client is a client that may connect, as listed by [Credentials.List].
type Client struct {
	Name      string
	PublicKey string // a public nkey of type user, which begins with U
}

const (
	seedSuffix   = ".nk"
	publicSuffix = ".pub"
	maxKeyFile   = 1 << 10 // bytes; the seed of a key has 58
)

var (
	clientName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

	errClientExists  = errors.New("the client already exists")
	errUnknownClient = errors.New("no such client")
)

func checkName(name string) error {
	if !clientName.MatchString(name) {
		return fmt.Errorf("client name %q: want 1 to 64 lower-case letters, digits, _ and -", name)
	}
	return nil
}

// Add creates the client called name with a new key, or with the key in the client's seed file if
// an earlier Add was interrupted, and returns the path of this file. The name must have 1 to 64
// lower-case letters, digits, "_" and "-". Add returns an error if the name is invalid or in use,
// or if a file cannot be read or written.
func (c Credentials) Add(name string) (seedFile string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if err := os.MkdirAll(string(c), 0o700); err != nil {
		return "", fmt.Errorf("create the directory of NATS credentials: %w", err)
	}
	seedFile = c.path(name, seedSuffix)
	if _, err := os.Lstat(c.path(name, publicSuffix)); err == nil {
		return "", fmt.Errorf("add NATS client %s: %w", name, errClientExists)
	}
	public, err := c.createSeed(seedFile)
	if errors.Is(err, fs.ErrExist) { // an earlier Add was interrupted between its two files
		public, err = publicOf(seedFile)
	}
	if err == nil {
		err = create(c.path(name, publicSuffix), public+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("add NATS client %s: %w", name, err)
	}
	return seedFile, nil
}

// Remove deletes the files of the client called name. A running server then closes the connections
// of the client. Remove returns an error if there is no such client, or if a file cannot be
// deleted.
func (c Credentials) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := os.Remove(c.path(name, publicSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove NATS client %s: %w", name, errUnknownClient)
	}
	if err == nil {
		if err = os.Remove(c.path(name, seedSuffix)); errors.Is(err, fs.ErrNotExist) {
			err = nil // it has been moved to the client's machine
		}
	}
	if err != nil {
		return fmt.Errorf("remove NATS client %s: %w", name, err)
	}
	return nil
}

// List returns the clients sorted by name. If the directory does not exist, the list is empty. List
// returns an error if the directory or a .pub file cannot be read or is writable by other users,
// who could then add clients, or if a .pub file has an invalid name or contains no public key.
func (c Credentials) List() ([]Client, error) {
	entries, err := os.ReadDir(string(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list NATS clients: %w", err)
	}
	if err := refuseModes(string(c), 0o022); err != nil {
		return nil, err
	}
	var clients []Client
	for _, entry := range entries {
		name, isPublic := strings.CutSuffix(entry.Name(), publicSuffix)
		if !isPublic {
			continue
		}
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("file %s: %w", filepath.Join(string(c), entry.Name()), err)
		}
		client, err := c.read(name)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	slices.SortFunc(clients, func(a, b Client) int { return cmp.Compare(a.Name, b.Name) })
	return clients, nil
}

func (c Credentials) read(name string) (Client, error) {
	file := c.path(name, publicSuffix)
	if err := refuseModes(file, 0o022); err != nil {
		return Client{}, err
	}
	text, err := readShort(file)
	if err != nil {
		return Client{}, fmt.Errorf("read NATS client %s: %w", name, err)
	}
	public := strings.TrimSpace(string(text))
	if !nkeys.IsValidPublicUserKey(public) {
		return Client{}, fmt.Errorf("file %s: want a valid public nkey of a user, which begins with U", file)
	}
	return Client{Name: name, PublicKey: public}, nil
}

// exposed returns the paths of the seed files to which other users have access.
func (c Credentials) exposed() []string {
	files, _ := filepath.Glob(filepath.Join(string(c), "*"+seedSuffix))
	return slices.DeleteFunc(files, func(file string) bool { return refuseModes(file, 0o077) == nil })
}

func (c Credentials) path(name, suffix string) string {
	return filepath.Join(string(c), name+suffix)
}

// createSeed creates a key, writes its seed to file, and returns the public key.
func (c Credentials) createSeed(file string) (public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	return public, create(file, string(seed)+"\n")
}

func publicOf(seedFile string) (string, error) {
	text, err := readShort(seedFile)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return "", fmt.Errorf("file %s: want the seed of an nkey; delete the file to get a new one", seedFile)
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", fmt.Errorf("file %s: want the seed of an nkey of a user; delete the file to get a new one", seedFile)
	}
	return public, nil
}

// readShort returns the contents of file. It returns an error if file cannot be read, is not a
// regular file or has more than maxKeyFile bytes.
func readShort(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("file %s: want a regular file of at most %d bytes", file, maxKeyFile)
	}
	return os.ReadFile(file) //nolint:wrapcheck // names the file
}

// create atomically creates a file that contains text and that only its owner can read. The error
// wraps [fs.ErrExist] if the file exists.
func create(file, text string) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".new-*") // with mode 0600
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(text)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Link(temporary.Name(), file) //nolint:wrapcheck // names both
}

// refuseModes returns an error if file has any of the permission bits in mask, or if its mode
// cannot be read. On Windows, refuseModes returns nil.
func refuseModes(file string, mask fs.FileMode) error {
	if runtime.GOOS == "windows" { // no permission bits
		return nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("NATS credentials: %w", err)
	}
	if info.Mode().Perm()&mask != 0 {
		return fmt.Errorf("NATS credentials: %s has mode %#o, which lets other users change it; run chmod go-w %s", file, info.Mode().Perm(), file)
	}
	return nil
}
