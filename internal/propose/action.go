package propose

import (
	"cmp"

	"github.com/tidegate-io/tidegate/internal/config"
)

var (
	blocks = map[string]bool{"": true, "block": true, "deny": true, "reject": true, "limit": true, "gate": true, "paywall": true, "restrict": true}
	mails  = map[string]bool{"email": true, "mail": true, "notify": true, "notification": true, "send_email": true, "upgrade_prompt": true}
)

// actions reads what happens at the limit: who is blocked, with which message,
// and which mail goes out.
func (r *reader) actions(d *draft, list []*node) {
	blocking, other := len(list) == 0, ""
	for _, a := range list {
		kind := a.string()
		switch {
		case a.fields != nil:
			kind = r.text(a, "type", "kind")
		case !a.scalar():
			r.note(a.line, "`action` is %s, not written out, and is left out", a.shown())
			other = cmp.Or(other, a.shown())
			continue
		}
		kind = snake(kind)
		switch {
		case mails[kind]:
			r.prompt(d, a)
			other = cmp.Or(other, kind)
			continue
		case blocks[kind]:
			blocking = true
		case kind == "shadow":
			d.Shadow = true
		default:
			r.note(a.line, "an action of type %s is none of Tidegate's and is left out", kind)
			other = cmp.Or(other, kind)
		}
		r.message(d, a)
		if prompt := a.take("upgrade_prompt", "prompt", "email"); prompt != nil {
			r.prompt(d, prompt)
		}
		r.leftOver("action.", a)
	}
	if !blocking && !d.Shadow {
		d.Shadow = true
		r.note(d.line(), "an action of type %s blocks nobody: the gate is written as a shadow, which counts, blocks nobody and sends no mail; "+
			"choose `type: block` to enforce it", other)
	}
}

func (r *reader) message(d *draft, a *node) {
	if m := a.take("message"); m.string() != "" {
		d.Message = m.string()
	} else if m != nil && !m.scalar() {
		r.note(m.line, "`message` is %s, which is computed: the built-in message is used", m.shown())
	}
}

// prompt reads the mail that goes out at the limit: an object, the name of a
// template, or true.
func (r *reader) prompt(d *draft, o *node) {
	template := ""
	switch text := o.string(); {
	case o.fields != nil:
		template = r.text(o, "template", "template_id")
		if kind := r.text(o, "type"); kind != "" && !mails[snake(kind)] {
			r.note(o.line, "an upgrade prompt of type %s becomes a mail", kind)
		}
		if provider := r.text(o, "provider"); provider != "" && provider != "resend" {
			r.note(o.line, "mail goes through Resend, not %s", provider)
		}
		r.leftOver("upgrade_prompt.", o)
	case !o.scalar():
		r.note(o.line, "`upgrade_prompt` is %s, not written out: the built-in mail is used", o.shown())
	case text == "" || text == "false":
		return
	case text != "true" && !mails[text]:
		template = text
	}
	if template != "" && template != config.DefaultTemplate {
		r.note(o.line, "the mail template %s is not built in: %s is used; put yours into the folder of `mail.templates` and name it", template, config.DefaultTemplate)
	}
	d.Template = config.DefaultTemplate
}
