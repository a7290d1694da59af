package enforcer

import (
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// switchGate turns a gate off or on, and tells the apps.
func (p *Processor) switchGate(g records.GateSwitch) error {
	p.gatesOff[g.Feature] = g
	if !g.Off {
		delete(p.gatesOff, g.Feature)
	}
	p.gatesChanged = true
	return p.publishGates()
}

// switchOn turns the gates on whose time off is over.
func (p *Processor) switchOn(now time.Time) error {
	for feature, g := range p.gatesOff {
		if g.Until != nil && !now.Before(*g.Until) {
			if err := p.switchGate(records.GateSwitch{Feature: feature}); err != nil {
				return err
			}
		}
	}
	return nil
}

// switches puts the switches into a record.
func (s *state) switches(r *record) {
	r.GatesOff, r.OffUntil = map[string]bool{}, map[string]time.Time{}
	for feature, g := range s.gatesOff {
		r.GatesOff[feature] = true
		if g.Until != nil {
			r.OffUntil[feature] = *g.Until
		}
	}
}

// setSwitches takes the switches of a record.
func (s *state) setSwitches(r *record) {
	s.gatesOff = map[string]records.GateSwitch{}
	for feature := range r.GatesOff {
		g := records.GateSwitch{Feature: feature, Off: true}
		if until, ends := r.OffUntil[feature]; ends {
			g.Until = &until
		}
		s.gatesOff[feature] = g
	}
}
