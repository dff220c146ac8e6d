package chain

// pseudo are names of headers that are parts of the request.
type pseudo uint8

const (
	notPseudo pseudo = iota
	pseudoMethod
	pseudoPath
	pseudoAuthority
	pseudoUnknown // is never there
)

// headerName is a header that a chain reads.
type headerName struct {
	lower, canonical string
	pseudo           pseudo
	index            int
}

// maxKept is how many headers are kept from one look to the next.
const maxKept = 8

// reading is the reading of one request: it asks for each header once.
type reading struct {
	req  *Request
	have uint8 // bit i: kept[i] has been asked for
	kept [maxKept][]string
}

func (rd *reading) path() string {
	if rd.req.Path == "" {
		return "/"
	}
	return rd.req.Path
}

func (rd *reading) header(n *headerName) []string {
	if n.index >= maxKept {
		return rd.ask(n)
	}
	if bit := uint8(1) << n.index; rd.have&bit == 0 {
		rd.have |= bit
		rd.kept[n.index] = rd.ask(n)
	}
	return rd.kept[n.index]
}

func (rd *reading) ask(n *headerName) []string {
	switch n.pseudo {
	case notPseudo:
		if rd.req.Header != nil {
			return rd.req.Header.Values(n.lower, n.canonical)
		}
		return outgoing(rd.req.ctx, n.lower)
	case pseudoMethod:
		return []string{rd.req.Method}
	case pseudoPath:
		if rd.req.Query != "" {
			return []string{rd.path() + "?" + rd.req.Query}
		}
		return []string{rd.path()}
	case pseudoAuthority:
		if rd.req.Authority != "" {
			return []string{rd.req.Authority}
		}
	}
	return nil
}
