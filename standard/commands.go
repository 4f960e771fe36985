package standard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/config"
)

// commands returns the standard commands and the commands of the program. A command of the program
// replaces the standard command with the same name.
func (p *Program[C]) commands() []Command[C] {
	list := []Command[C]{
		{Name: "serve", Settings: "*", Help: "serve until SIGTERM or Ctrl-C; the default", Run: serve[C]},
		{Name: "config", Settings: "*", Help: "print every setting, its value and where it comes from", Run: printConfig[C]},
		{Name: "schema", Args: "openapi|asyncapi|proto", Settings: "*", Help: "print the contract of the service", Run: printSchema[C]},
		{Name: "healthcheck", Settings: "admin", Help: "check whether the running program is ready; exit 0 or 1", Run: healthcheck[C]},
		{Name: "version", Help: "print the version", AnyConfig: true, Run: printVersion[C]},
	}
	for _, c := range p.Commands {
		if i := slices.IndexFunc(list, func(other Command[C]) bool { return other.Name == c.Name }); i >= 0 {
			list[i] = c
		} else {
			list = append(list, c)
		}
	}
	return list
}

func printConfig[C any](_ context.Context, i *Invocation[C]) error {
	_, err := i.Report.WriteTo(i.Out)
	return err //nolint:wrapcheck // stdout's
}

func printVersion[C any](_ context.Context, i *Invocation[C]) error {
	_, err := fmt.Fprintln(i.Out, i.Program.Name, i.Program.Version)
	return err //nolint:wrapcheck // stdout's
}

// find returns the command whose name matches the most words at the beginning of args, and the
// remaining arguments. If args are empty or begin with a flag, the command is serve. find returns a
// [UsageError] if no command matches.
func (p *Program[C]) find(args []string) (*Command[C], []string, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"serve"}, args...)
	}
	var found *Command[C]
	length := 0
	for _, c := range p.commands() {
		words := strings.Fields(c.Name)
		if len(words) > length && len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			found, length = &c, len(words)
		}
	}
	if found == nil {
		return nil, nil, p.unknown(args)
	}
	return found, args[length:], nil
}

// group returns the commands whose names have several words, of which the first is word.
func (p *Program[C]) group(word string) (list []Command[C]) {
	for _, c := range p.commands() {
		if first, _, more := strings.Cut(c.Name, " "); more && first == word {
			list = append(list, c)
		}
	}
	return list
}

// unknown returns the [UsageError] for arguments that do not begin with the name of a command.
func (p *Program[C]) unknown(args []string) error {
	list := p.group(args[0])
	if len(list) == 0 {
		return UsageError{fmt.Errorf("unknown command %q%s %s --help lists the commands", args[0], cmp.Or(p.suggest(args[0]), ";"), p.Name)}
	}
	var text strings.Builder
	if len(args) == 1 || strings.HasPrefix(args[1], "-") {
		fmt.Fprintf(&text, "%s needs a command:\n", args[0])
	} else {
		fmt.Fprintf(&text, "unknown command \"%s %s\"%s the commands are:\n", args[0], args[1], cmp.Or(suggestIn(list, args), ";"))
	}
	listCommands(&text, list)
	return UsageError{errors.New(strings.TrimSuffix(text.String(), "\n"))}
}

// suggest returns "; did you mean X?" if word resembles the first word X of a command, and ""
// otherwise.
func (p *Program[C]) suggest(word string) string {
	words := []string{"help"}
	for _, c := range p.commands() {
		first, _, _ := strings.Cut(c.Name, " ")
		words = append(words, first)
	}
	return config.Suggest(word, words)
}

// flags returns the command's own flags, which are the words in brackets in c.Args that begin with
// --.
func (c Command[C]) flags() (list []string) {
	for word := range strings.FieldsSeq(c.Args) {
		if strings.HasPrefix(word, "[--") {
			list = append(list, strings.Trim(word, "[]"))
		}
	}
	return list
}

// suggestIn returns "; did you mean X?" if the second word of args resembles the second word of a
// command in list, and "" otherwise. X consists of both words.
func suggestIn[C any](list []Command[C], args []string) string {
	var words []string
	for _, c := range list {
		words = append(words, strings.Fields(c.Name)[1])
	}
	return strings.Replace(config.Suggest(args[1], words), "mean ", "mean "+args[0]+" ", 1)
}

// splitFlags returns args without the command's own flags, and the set of own flags that args
// contain.
func (c Command[C]) splitFlags(args []string) (rest []string, flags map[string]bool) {
	flags = make(map[string]bool)
	own := c.flags()
	for _, arg := range args {
		if slices.Contains(own, arg) {
			flags[arg] = true
		} else {
			rest = append(rest, arg)
		}
	}
	return rest, flags
}

// checkArgs returns a [UsageError] if the number of arguments does not match c.Args.
func (p *Program[C]) checkArgs(c Command[C], args []string) error {
	minimum, maximum := 0, 0
	for word := range strings.FieldsSeq(c.Args) {
		switch {
		case strings.HasPrefix(word, "[--"):
		case strings.HasPrefix(word, "["):
			maximum++
		default:
			minimum, maximum = minimum+1, maximum+1
		}
	}
	if n := len(args); n < minimum || n > maximum {
		return UsageError{fmt.Errorf("usage: %s (%s); got %s", strings.TrimSpace(p.Name+" "+c.Name+" "+c.Args), c.Help, count(n, "argument"))}
	}
	return nil
}

// count returns the number n followed by the noun what in the singular or plural: "1 argument", "2
// arguments".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func wantsHelp(args []string) bool {
	return len(args) > 0 && (args[0] == "help" || slices.Contains(args, "--help") || slices.Contains(args, "-h"))
}

// printHelp prints the help of a command, of a group of commands, or of the program.
func (p *Program[C]) printHelp(w io.Writer, args []string) error {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if c, _, err := p.find(args); err == nil {
			return p.printCommandHelp(w, *c)
		}
		list := p.group(args[0])
		if len(list) == 0 {
			return p.unknown(args)
		}
		fmt.Fprintf(w, "Usage: %s %s COMMAND [--SETTING=VALUE ...]\n\n", p.Name, args[0])
		listCommands(w, list)
		return nil
	}
	if p.Help != "" {
		fmt.Fprintf(w, "%s\n\n", p.Help)
	}
	fmt.Fprintf(w, "Usage: %s [COMMAND] [--SETTING=VALUE ...]\n\n", p.Name)
	listCommands(w, p.commands())
	_, err := fmt.Fprintf(w, "\nSettings come from %s (or --config FILE), from %s_ variables and from flags;\n\"%s COMMAND --help\" lists those that a command uses, \"%s config\" shows all values.\n",
		p.File, config.EnvPrefix(p.Name), p.Name, p.Name)
	return err //nolint:wrapcheck // stdout's
}

func listCommands[C any](w io.Writer, list []Command[C]) {
	width := 20
	for _, c := range list {
		width = max(width, len(c.short())+1)
	}
	for _, c := range list {
		fmt.Fprintf(w, "  %-*s %s\n", width, c.short(), c.Help)
	}
}

// short returns the name of the command and its arguments, without its flags.
func (c Command[C]) short() string {
	args, _, _ := strings.Cut(c.Args, "[--")
	return strings.TrimSpace(c.Name + " " + args)
}

// printCommandHelp prints the usage of the command and the settings that it uses.
func (p *Program[C]) printCommandHelp(w io.Writer, c Command[C]) error {
	_, err := fmt.Fprintf(w, "Usage: %s\n\n  %s\n", strings.TrimSpace(p.Name+" "+c.Name+" "+c.Args), c.Help)
	if c.Settings == "" || err != nil {
		return err //nolint:wrapcheck // stdout's
	}
	groups := strings.Fields(c.Settings)
	if c.Settings == "*" {
		groups = nil
	}
	fmt.Fprintf(w, "\nSettings:\n  --config  %s_CONFIG\n        the configuration file (default %s, if there is one)\n", config.EnvPrefix(p.Name), p.File)
	settings := p.Defaults
	return config.Usage(w, &settings, p.Name, groups...) //nolint:wrapcheck // stdout's
}
