package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// file is one that is being written.
type file struct {
	*os.File
	sum   hash.Hash
	bytes int64
}

func create(dir, name string) (*file, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{File: f, sum: sha256.New()}, nil
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	_, _ = f.sum.Write(b[:n]) // never fails
	f.bytes += int64(n)
	return n, err
}

// finish writes the file to the disk, and notes it in the copy.
func (f *file) finish(c *Copy) error {
	c.Bytes, c.SHA256 = f.bytes, hex.EncodeToString(f.sum.Sum(nil))
	return errors.Join(f.Sync(), f.Close())
}

// verify compares a file with what the manifest says of it.
func (c *Copy) verify(ctx context.Context, dir string) error {
	f, err := os.Open(filepath.Join(dir, c.File))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader{ctx, f}); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != c.SHA256 {
		return fmt.Errorf("%s is damaged: its checksum is not the one in %s", c.File, manifestFile)
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
