package chain

import (
	"fmt"
	"strings"
)

func (e *Evaluator) explainRoutes(x *Explanation, rd *reading) (*Plan, *splitter) {
	for i := range e.routes {
		rt := &e.routes[i]
		ok, part, at := rt.match(rd)
		step := RouteStep{Index: i, Match: rt.describe(), Matched: ok}
		if !ok {
			step.Why = rt.why(e, part, at, rd)
		}
		x.Routes = append(x.Routes, step)
		if ok {
			x.Others = len(e.routes) - i - 1
			x.How = fmt.Sprintf("route %d matches first", i)
			return rt.plan, rt.split
		}
	}
	x.How = "no route matches"
	return nil, nil
}

func (e *Evaluator) explainSplit(x *Explanation, s *splitter, rd *reading) *Plan {
	x.Splitter = s.name
	picked, how := s.pick(e, rd)
	switch {
	case how == byActive:
		x.How = "one subset is active: " + s.branches[picked].plan.Target.ServiceSubset
	case how == byKey && rd.req.Key != "":
		x.How = "by the caller's sticky key"
	case how == byKey:
		x.How = "by the sticky key of " + strings.Join(e.policy.Sticky, ", ")
	case rd.req.HasDraw:
		x.How = fmt.Sprintf("drawn at %.2f %%", rd.req.Draw*100)
	default:
		x.How, picked = "drawn for each call", -1
	}
	total := s.now()
	for i := range s.branches {
		b := &s.branches[i]
		step := SplitStep{Target: b.plan.Target.ID, Weight: float64(b.weight) / 100, Picked: i == picked}
		now := b.weightNow()
		switch {
		case how == byActive && i == picked:
			step.Share, step.Why = 100, "its subset is active"
		case how == byActive:
			step.Why = "another subset is active"
		case total == 0:
			step.Share, step.Why = float64(b.weight)*100/float64(s.total), "the guard left nothing, so the weights hold"
		case b.weight == 0:
			step.Why = "its weight is 0"
		default:
			step.Share = float64(now) * 100 / float64(total)
			if b.arm != nil && now < uint64(b.weight)*shareScale {
				step.Why = fmt.Sprintf("the guard leaves it %.0f %% of its weight", float64(b.arm.share.Load())/100)
			}
		}
		x.Splits = append(x.Splits, step)
	}
	if picked < 0 {
		return nil
	}
	return s.branches[picked].plan
}
