package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

const maxPassword = 4096 // bytes of a line with a password; a longer one is no password

// terminal is standard input where a person sits at it, else nil.
func (a *app) terminal() *os.File {
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// readLine reads one line of standard input, such as a password from --password-stdin.
func (a *app) readLine() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(a.in, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// password is the first line of standard input where the flag asks for it, or what a person types
// twice. It is empty where there is nobody to ask.
func (a *app) password(fromStdin bool) (string, error) {
	f := a.terminal()
	if fromStdin && f != nil {
		return "", misuse("--password-stdin reads a file or a pipe, and standard input is a terminal. Leave it out, and you are asked")
	}
	if fromStdin {
		return a.readLine()
	}
	if f == nil {
		return "", nil
	}
	first, err := a.typed(f, "Password (empty for none): ")
	if err != nil || first == "" {
		return first, err
	}
	second, err := a.typed(f, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

func (a *app) typed(f *os.File, prompt string) (string, error) {
	fmt.Fprint(a.err, prompt)
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	return string(text), err
}

// confirm asks before something is destroyed. Where nobody can be asked, --yes has to say so.
func (a *app) confirm(question string) error {
	if a.yes {
		return nil
	}
	if a.terminal() == nil {
		return misuse("%s Say so with --yes", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, err := a.readLine()
	if err != nil {
		return err
	}
	if !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		return errors.New("nothing was changed")
	}
	return nil
}
