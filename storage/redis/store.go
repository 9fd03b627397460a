// Package redis keeps the gate's counters in a Redis server, or in one that speaks as it does, for
// those who outgrow their database. Everything else stays in package storage's database.
//
// The server must not evict keys (maxmemory-policy noeviction): a counter that is evicted begins
// anew. What a primary loses when it fails is lost here, too.
package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// keyPrefix is before each key. All of them are in one slot of a cluster, since a script takes
// several at a time.
const keyPrefix = "postern:{gate}:"

// The gate refuses what it cannot count, so that nobody waits for long on a server that is gone.
const (
	dialTimeout = 2 * time.Second
	callTimeout = time.Second // for a place in the pool, to write, and to read
	allTimeout  = 2500 * time.Millisecond
)

// The library hands each failure to its caller. What it also writes to a log of its own would be
// in nobody's format.
var logOff sync.Once

// A Store keeps counters in Redis 6 or later, or in Valkey. Its methods may be called at the same
// time.
type Store struct {
	client *goredis.Client
	prefix string
}

// Open connects to the server at redis://[USER:PASSWORD@]HOST:PORT/DATABASE, to one with TLS at
// rediss://, or to unix://PATH?db=DATABASE, and loads the script. Its errors do not quote the URL,
// which may hold a password.
func Open(ctx context.Context, url string) (*Store, error) { return open(ctx, url, keyPrefix) }

func open(ctx context.Context, url, prefix string) (*Store, error) {
	o, err := goredis.ParseURL(url)
	if err != nil {
		return nil, errors.New("open Redis: the URL is none such as redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix://PATH")
	}
	logOff.Do(logging.Disable)
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = callTimeout, callTimeout, callTimeout
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1 // a call that was sent may have counted
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	s := &Store{client: goredis.NewClient(o), prefix: prefix}
	if err := script.Load(ctx, s.client).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("open Redis at %s: %w", o.Addr, err), s.Close())
	}
	return s, nil
}

// Close closes the connections. It is called once.
func (s *Store) Close() error { return s.client.Close() }
