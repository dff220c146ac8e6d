package resilience

import "testing"

func TestPriorityRank(t *testing.T) {
	t.Parallel()
	order := []Priority{CriticalPlus, Critical, SheddablePlus, Sheddable}
	for want, p := range order {
		if p.Rank() != want {
			t.Errorf("rank of %v is %d, want %d", p, p.Rank(), want)
		}
	}
	var zero, unknown Priority = 0, 200
	if zero != Critical || unknown.Rank() != Critical.Rank() {
		t.Errorf("zero is %v, unknown ranks %d", zero, unknown.Rank())
	}
}

func TestPriorityString(t *testing.T) {
	t.Parallel()
	want := map[Priority]string{Critical: "critical", CriticalPlus: "critical_plus", SheddablePlus: "sheddable_plus", Sheddable: "sheddable", 9: "priority(9)"}
	for p, s := range want {
		if p.String() != s {
			t.Errorf("%d is %q, want %q", p, p, s)
		}
	}
}
