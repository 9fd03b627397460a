package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"postern/config"
)

// newLogger writes the log as the settings say: text on a terminal, JSON otherwise. What is logged
// is never a token, a code, a cookie, a password or a query string.
func newLogger(w io.Writer, cfg config.Log, environ []string) *slog.Logger {
	level := levelOf(cfg.Level)
	f, isFile := w.(*os.File)
	onTerminal := isFile && term.IsTerminal(int(f.Fd()))
	options := &slog.HandlerOptions{Level: level}
	switch {
	case cfg.Format == "json", cfg.Format == "auto" && !onTerminal:
		return slog.New(slog.NewJSONHandler(w, options))
	case onTerminal && !slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, "NO_COLOR=") && e != "NO_COLOR=" }):
		return slog.New(&coloured{level: level, w: w, mu: &sync.Mutex{}})
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// A securityLog is the file of log.security: JSON lines, of which the owner alone reads.
type securityLog struct {
	path string
	mu   sync.Mutex // holds file
	file *os.File
}

// openSecurityLog opens it, nil where the log takes what it would have.
func openSecurityLog(cfg config.SecurityLog) (*securityLog, error) {
	if cfg.File == "" {
		return nil, nil
	}
	s := &securityLog{path: cfg.File}
	if err := s.reopen(); err != nil {
		return nil, fmt.Errorf("log.security.file: %w", err)
	}
	return s, nil
}

// toStdout is the value of log.security.file that means standard output.
const toStdout = "-"

// reopen opens the file anew, after somebody moved it away. What was open stays so where that fails.
func (s *securityLog) reopen() error {
	file := os.Stdout
	if s.path != toStdout {
		var err error
		if file, err = os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
			err = file.Chmod(0o600)
		}
		if err != nil {
			return errors.Join(err, file.Close())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	former := s.file
	s.file = file
	if former == nil || former == os.Stdout {
		return nil
	}
	return former.Close()
}

// Write implements io.Writer.
func (s *securityLog) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Write(b)
}

// close closes the file; a nil one is none.
func (s *securityLog) close() error {
	if s == nil || s.path == toStdout {
		return nil
	}
	return s.file.Close()
}

// logger writes JSON lines into it, nil where there is none.
func (s *securityLog) logger(level string) *slog.Logger {
	if s == nil {
		return nil
	}
	return slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: levelOf(level)}))
}

// reopenAtHangup opens the file anew at each SIGHUP until ctx ends.
func (s *securityLog) reopenAtHangup(ctx context.Context, log *slog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := s.reopen(); err != nil {
				log.ErrorContext(ctx, "reopen log.security.file", "error", err)
				continue
			}
			log.InfoContext(ctx, "reopened log.security.file", "file", s.path)
		}
	}
}

// levelOf is the level of a word that the settings were judged by.
func levelOf(word string) (level slog.Level) {
	if err := level.UnmarshalText([]byte(word)); err != nil {
		panic(err)
	}
	return level
}

// tookKey is how long something took, in milliseconds.
const tookKey = "took_ms"

// milliseconds is d for tookKey, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// A coloured handler writes a line a record for the eyes: time, level in colour, message, pairs.
type coloured struct {
	level  slog.Level
	w      io.Writer
	mu     *sync.Mutex // holds w
	pairs  string      // of WithAttrs, written already
	prefix string      // of WithGroup, with its dot
}

// Enabled implements slog.Handler.
func (h *coloured) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *coloured) Handle(_ context.Context, r slog.Record) error {
	colour := map[slog.Level]string{slog.LevelDebug: "2", slog.LevelInfo: "36", slog.LevelWarn: "33", slog.LevelError: "31"}[r.Level]
	var b bytes.Buffer
	fmt.Fprintf(&b, "\x1b[2m%s\x1b[0m \x1b[%sm%-5s\x1b[0m %s", r.Time.Format("15:04:05.000"), colour, r.Level, r.Message)
	b.WriteString(h.pairs)
	r.Attrs(func(a slog.Attr) bool {
		h.pair(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

func (h *coloured) pair(b *bytes.Buffer, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		for _, member := range value.Group() {
			h.pair(b, prefix+a.Key+".", member)
		}
		return
	}
	text := value.String()
	// Control characters of a stranger's making would steer the terminal.
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || !strconv.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	fmt.Fprintf(b, " \x1b[2m%s%s=\x1b[0m%s", prefix, a.Key, text)
}

// WithAttrs implements slog.Handler.
func (h *coloured) WithAttrs(attrs []slog.Attr) slog.Handler {
	b := bytes.NewBufferString(h.pairs)
	for _, a := range attrs {
		h.pair(b, h.prefix, a)
	}
	with := *h
	with.pairs = b.String()
	return &with
}

// WithGroup implements slog.Handler.
func (h *coloured) WithGroup(name string) slog.Handler {
	with := *h
	with.prefix += name + "."
	return &with
}
