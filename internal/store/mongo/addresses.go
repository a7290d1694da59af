package mongo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

// Place says where customers' e-mail addresses are: in Field of the document of
// Collection whose Key is the customer's id. Key and Field may have dots, for
// embedded documents.
type Place struct {
	Database, Collection, Key, Field string
}

// Reader reads the app's own collections: e-mail addresses for mails, and whole
// collections for an import. It never writes. It is safe for concurrent use.
type Reader struct {
	store    Store // its connection and errors alone
	database string
}

// OpenReader returns a reader of the server of uri. setting is the name of the
// setting with the URI, for errors. database is the database of a Place without
// one; "" means the URI's database, else DefaultDatabase. OpenReader does not wait
// for the server.
func OpenReader(setting, uri, database string) (*Reader, error) {
	r := &Reader{store: Store{setting: setting, role: "read", timeout: 5 * time.Second}, database: database}
	opts := options.Client().SetAppName("tidegate").
		SetConnectTimeout(r.store.timeout).SetServerSelectionTimeout(r.store.timeout).
		SetReadPreference(readpref.PrimaryPreferred()).SetMaxPoolSize(4).
		ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		return nil, uriError(setting, uri, err)
	}
	if r.database == "" {
		r.database = DefaultDatabase
		if cs, err := connstring.Parse(uri); err == nil && cs.Database != "" {
			r.database = cs.Database
		}
	}
	r.store.hosts = opts.Hosts
	client, err := driver.Connect(context.Background(), opts)
	if err != nil {
		return nil, uriError(setting, uri, err)
	}
	r.store.client = client
	return r, nil
}

// Close closes all connections.
func (r *Reader) Close(ctx context.Context) error { return r.store.Close(ctx) }

// Address returns the customer's e-mail address, or "" when there is no document or
// its field is no text. The document's key may be the id as text or, when it has
// that form, as number, ObjectID or UUID.
func (r *Reader) Address(ctx context.Context, p Place, customer string) (string, error) {
	ctx, cancel := r.store.bound(ctx)
	defer cancel()
	var doc bson.Raw
	err := r.collection(&p).FindOne(ctx, bson.D{{Key: p.Key, Value: bson.D{{Key: "$in", Value: forms(customer)}}}},
		options.FindOne().SetProjection(bson.D{{Key: p.Field, Value: 1}})).Decode(&doc)
	if errors.Is(err, driver.ErrNoDocuments) {
		return "", nil
	}
	if err != nil {
		return "", r.store.fail("find in "+p.Collection, err)
	}
	v, err := doc.LookupErr(strings.Split(p.Field, ".")...)
	if err != nil {
		return "", nil // this document has no such field
	}
	s, _ := v.StringValueOK()
	return strings.TrimSpace(s), nil
}

// Check returns an error when the server does not answer or does not have the
// collection.
func (r *Reader) Check(ctx context.Context, p Place) error {
	there, err := r.exists(ctx, &p)
	if err == nil && !there {
		err = fmt.Errorf("%s: name the right ones in `email_from`", r.absent(&p))
	}
	return err
}

func (r *Reader) exists(ctx context.Context, p *Place) (bool, error) {
	ctx, cancel := r.store.bound(ctx)
	defer cancel()
	c := r.collection(p)
	names, err := c.Database().ListCollectionNames(ctx, bson.D{{Key: "name", Value: p.Collection}})
	if err != nil {
		return false, r.store.fail("list the collections of "+c.Database().Name(), err)
	}
	return len(names) > 0, nil
}

func (r *Reader) absent(p *Place) string {
	return fmt.Sprintf("%s: database %q has no collection %q", r.store.where(), r.collection(p).Database().Name(), p.Collection)
}

func (r *Reader) collection(p *Place) *driver.Collection {
	name := p.Database
	if name == "" {
		name = r.database
	}
	return r.store.client.Database(name).Collection(p.Collection)
}

// forms returns the values that may be stored for a customer's id.
func forms(id string) bson.A {
	all := bson.A{id}
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && strconv.FormatInt(n, 10) == id {
		all = append(all, n) // matches every type of number
	}
	if o, err := primitive.ObjectIDFromHex(id); err == nil {
		all = append(all, o)
	}
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		if b, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil && len(b) == 16 {
			all = append(all, primitive.Binary{Subtype: bson.TypeBinaryUUID, Data: b})
		}
	}
	return all
}
