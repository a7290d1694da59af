package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/permissions"
)

type natsPermissionsCmd struct {
	Namespace *string  `help:"Namespace of the installation (default: the configuration's)." placeholder:"NAME"`
	Users     []string `help:"Kinds of users to print: tidegate (all roles in one process), ingest, aggregator, enforcer, notifier, operator, backup, app, reporter (default: all)." placeholder:"KIND,…"`
	Store     string   `help:"Where documents are kept: mongodb or nats." enum:"mongodb,nats" default:"mongodb" env:"TIDEGATE_STORE"`
}

func (c *natsPermissionsCmd) Run(e *env) error {
	o := permissions.Options{Store: c.Store == "nats"}
	if c.Namespace != nil {
		if !config.IsNamespace(*c.Namespace) {
			return misuse.Errorf("--namespace: %q is none: letters, digits, _ and -", *c.Namespace)
		}
		o.Names = events.Names{Namespace: *c.Namespace}
	} else {
		cfg, err := config.OpenOrExample(e.Config)
		if err != nil {
			return err
		}
		o.Names = events.Names{Namespace: cfg.Namespace}
	}
	for _, kind := range c.Users {
		if !slices.Contains(permissions.Kinds(), kind) {
			return misuse.Errorf("--users: %q is none of %s", kind, strings.Join(permissions.Kinds(), ", "))
		}
	}
	accounts := o.Accounts(c.Users...)
	if e.Output == "json" {
		return e.printAny(accounts, nil)
	}
	_, err := fmt.Fprintf(e.stdout, natsHeader, c.line(), permissions.Format(accounts))
	return err
}

const natsHeader = `# Written by
#   %s
# For the configuration of a NATS server, which takes each password, or its hash
# (nats server passwd), from its environment.

%s`

// line is the command that prints the same again.
func (c *natsPermissionsCmd) line() string {
	line := "tidegate nats-permissions"
	if c.Namespace != nil {
		line += fmt.Sprintf(" --namespace=%q", *c.Namespace)
	}
	if len(c.Users) > 0 {
		line += " --users " + strings.Join(c.Users, ",")
	}
	if c.Store != "mongodb" {
		line += " --store " + c.Store
	}
	return line
}
