package notifier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wneessen/go-mail"
)

// FileSender writes mails to files that mail programs can open:
// <dir>/<time>-<hash of the key>.eml. A repeated mail replaces its file. It is for
// development and needs no provider.
type FileSender struct{ dir string }

// NewFileSender returns a sender that writes to dir, and makes dir if needed.
func NewFileSender(dir string) (*FileSender, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &FileSender{dir: dir}, nil
}

// Send implements Sender. The provider id is the file's name.
func (s *FileSender) Send(_ context.Context, m Mail) (providerID string, err error) {
	body, err := eml(&m)
	if err != nil {
		return "", &SendError{Class: Permanent, Err: err}
	}
	name := m.At.UTC().Format("20060102T150405Z") + "-" + keyHash(m.Key) + ".eml"
	if err := writeFile(s.dir, name, body); err != nil {
		return "", err
	}
	return name, nil
}

// Forget implements Keeper.
func (s *FileSender) Forget(providerID string) error {
	err := os.Remove(filepath.Join(s.dir, filepath.Base(providerID)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// writeFile writes a file so that readers see all of it or nothing.
func writeFile(dir, name string, body []byte) (err error) {
	f, err := os.CreateTemp(dir, ".mail-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(body)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// eml returns the mail in the format of RFC 5322. It depends on m alone, so a repeat
// has the same bytes.
func eml(m *Mail) ([]byte, error) {
	content, err := m.Message()
	if err != nil {
		return nil, err
	}
	hash := keyHash(m.Key)
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary("tidegate-"+hash))
	if err := errors.Join(msg.From(content.From), msg.To(content.To...)); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	msg.Subject(content.Subject)
	msg.SetDateWithValue(m.At.UTC())
	msg.SetMessageIDWithValue(hash + "@tidegate")
	for name, value := range content.Headers {
		// Not encoded or folded: mail programs would not find the link.
		msg.SetGenHeaderPreformatted(mail.Header(name), value)
	}
	msg.SetBodyString(mail.TypeTextPlain, content.Text)
	msg.AddAlternativeString(mail.TypeTextHTML, content.HTML)
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
