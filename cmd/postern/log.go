package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"postern/config"
)

// newLogger writes the log as the settings say: text on a terminal, JSON otherwise. What is logged
// is never a token, a code, a cookie, a password or a query string.
func newLogger(w io.Writer, cfg config.Log, environ []string) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		panic(err) // the settings were judged
	}
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
