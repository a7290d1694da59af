// Package cli holds the commands of the program `tidegate`. Each file has a command
// or a family of them, and is named by it; a command's Run method does it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tidegate-io/tidegate/internal/buildinfo"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

// The exit codes: success, failure, a wrong call, and a decision that blocks.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitBlocked = 3
)

// commands are all commands and what they have in common.
type commands struct {
	Config  string           `help:"Configuration file." default:"tidegate.yaml" env:"TIDEGATE_CONFIG" placeholder:"FILE"`
	Output  string           `help:"How results are printed: table or json, lists also csv." enum:"table,json,csv" default:"table"`
	Version kong.VersionFlag `help:"Print version and commit."`

	Dev struct {
		Run       devCmd       `cmd:"" default:"withargs" help:"Run everything in this process: NATS, store, all roles, HTTP and web page."`
		Upgrade   upgradeCmd   `cmd:"" help:"Send the running dev the signed webhooks of a real upgrade."`
		Downgrade downgradeCmd `cmd:"" help:"Send the running dev the signed webhook of a cancelled subscription."`
	} `cmd:"" help:"Run everything in one process, for trying out and for development."`
	Serve  serveCmd  `cmd:"" help:"Run roles in production, on NATS and MongoDB."`
	Init   initCmd   `cmd:"" help:"Write a commented tidegate.yaml."`
	Conf   confCmd   `cmd:"" name:"config" help:"Work with configurations."`
	Send   sendCmd   `cmd:"" help:"Publish usage events and wait for their acknowledgement."`
	Check  checkCmd  `cmd:"" help:"Print a decision; exit 0 if allowed, 3 if blocked."`
	Usage  usageCmd  `cmd:"" help:"Print a customer's windows, limits and decisions."`
	Top    topCmd    `cmd:"" help:"Print the customers nearest to their limit."`
	Funnel funnelCmd `cmd:"" help:"Print how many reached a limit, were mailed, clicked and converted."`
	Gate   struct {
		Off gateOffCmd `cmd:"" help:"Allow everybody, whatever their usage."`
		On  gateOnCmd  `cmd:"" help:"Enforce the gate again."`
	} `cmd:"" help:"Emergency switch of a gate."`
	Import  importCmd  `cmd:"" help:"Backfill history: events of any age, or customers."`
	Replay  replayCmd  `cmd:"" help:"Derive windows from the stored stream anew and print them; changes nothing."`
	Verify  verifyCmd  `cmd:"" help:"Compare the live windows with what the stored stream gives."`
	Explain explainCmd `cmd:"" help:"Print why a decision is what it is."`
	Dead    deadCmd    `cmd:"" help:"Print the events that could not be counted, with the reasons."`
	Backup  backupCmd  `cmd:"" help:"Copy everything that NATS keeps into a folder, while Tidegate runs."`
	Restore restoreCmd `cmd:"" help:"Bring a backup into a NATS without streams of Tidegate."`
	Recover recoverCmd `cmd:"" help:"Print what is lost of partitions whose log is gone; --accept-loss lets them begin anew."`
	Audit   auditCmd   `cmd:"" help:"Print who changed what, the newest first."`
	Mail    struct {
		Preview previewCmd `cmd:"" help:"Write each mail with sample data, as HTML and text."`
	} `cmd:"" help:"Work with mails."`
	Stripe          stripeCmd          `cmd:"" help:"Compare with Stripe, and set its webhooks up."`
	NATSPermissions natsPermissionsCmd `cmd:"" name:"nats-permissions" help:"Print the NATS users with their permissions, as configuration of a NATS server."`
	Doctor          doctorCmd          `cmd:"" help:"Check NATS, MongoDB, Stripe, Resend and the configuration."`
	Ready           readyCmd           `cmd:"" help:"Ask a running Tidegate whether it is ready; exit 1 if not."`
	Licenses        licensesCmd        `cmd:"" help:"Print the licences of all code in this program."`
}

// blockedError reports that a decision was a block: exit 3.
type blockedError struct{}

func (blockedError) Error() string { return "blocked" }

// Streams are where commands read and print.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// env is what commands use of the world.
type env struct {
	*commands
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	build  buildinfo.Info
}

// Main runs the command that args name, without the program's own name, until it
// ends or ctx is done. It returns the exit code: 0 for success, 1 for a failure, 2
// for a wrong call, 3 for a decision that blocks.
func Main(ctx context.Context, args []string, std Streams, build buildinfo.Info) (code int) {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("tidegate"),
		kong.Description("Tidegate gates freemium features: usage in, decisions out, upgrade mails, conversions."),
		kong.Vars{"version": build.String()}, kong.Writers(std.Out, std.Err), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(code int) { exited = code; panic(exitSignal{}) }))
	if err != nil {
		_, _ = fmt.Fprintln(std.Err, "tidegate:", err)
		return exitFailed
	}
	defer func() { // kong exits in the middle of parsing for --help and --version
		if r := recover(); r != nil {
			if _, ok := r.(exitSignal); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	if len(args) == 0 || args[0] == "help" {
		args = append(args[min(1, len(args)):], "--help")
	}
	k, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(std.Err, "tidegate: %s: see `tidegate help`\n", oneLine(err))
		return exitUsage
	}
	if c.Output == "csv" && !listing(k) {
		_, _ = fmt.Fprintf(std.Err, "tidegate: %s prints no csv: use --output table or json\n", k.Command())
		return exitUsage
	}
	return exitCode(k.Run(&env{commands: &c, ctx: ctx, stdin: std.In, stdout: std.Out, stderr: std.Err, build: build}), std.Err)
}

// listing reports whether the command prints a list, also as CSV.
func listing(k *kong.Context) bool {
	target := k.Selected().Target
	_, ok := target.Addr().Interface().(interface{ printsCSV() })
	return ok
}

type exitSignal struct{}

func exitCode(err error, stderr io.Writer) int {
	var wrong misuse.Error
	var problems *config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(blockedError)):
		return exitBlocked
	case errors.As(err, &problems): // a line each, as a compiler does
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	_, _ = fmt.Fprintln(stderr, "tidegate:", oneLine(err))
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}

func oneLine(err error) string {
	return environ.Redact(strings.Join(strings.Fields(err.Error()), " "))
}
