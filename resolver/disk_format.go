package resolver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net"
	"strconv"
	"time"
)

// A disk snapshot is one header line and a JSON text:
//
//	weft-snapshot 1 <CRC-32C of the text, 8 hex digits> <length of the text>
//
// A version that is not ours is ignored, as is anything that does not check.
const (
	diskMagic   = "weft-snapshot"
	diskVersion = 1
	maxDiskFile = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type diskSnapshot struct {
	Source    string         `json:"source"`
	Service   string         `json:"service"`
	AsOf      time.Time      `json:"as_of"`
	Endpoints []diskEndpoint `json:"endpoints"`
}

type diskEndpoint struct {
	Source   string            `json:"source"`
	Node     string            `json:"node,omitempty"`
	Instance string            `json:"instance"`
	Addr     string            `json:"addr"`
	Cloud    string            `json:"cloud,omitempty"`
	Region   string            `json:"region,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Weight   uint32            `json:"weight"`
	Health   Health            `json:"health,omitempty"`
	Protocol string            `json:"protocol,omitempty"`
	SPIFFEID string            `json:"spiffe_id,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Metadata map[string]string `json:"meta,omitempty"`
	In       []string          `json:"in,omitempty"` // of Marks, as Out
	Out      []string          `json:"out,omitempty"`
}

// encodeDisk makes the content of a snapshot file.
func encodeDisk(source, service string, list []*Endpoint, asOf time.Time) ([]byte, error) {
	d := diskSnapshot{Source: source, Service: service, AsOf: asOf.UTC().Round(0), Endpoints: make([]diskEndpoint, len(list))}
	for i, e := range list {
		d.Endpoints[i] = diskEndpoint{
			Source: e.ID.Source, Node: e.ID.Node, Instance: e.ID.Instance, Addr: e.Addr,
			Cloud: e.Locality.Cloud, Region: e.Locality.Region, Zone: e.Locality.Zone,
			Weight: e.Weight, Health: e.Health, Protocol: e.Protocol, SPIFFEID: e.SPIFFEID,
			Tags: e.Tags, Metadata: e.Metadata,
		}
		if m := e.Marks; m != nil {
			d.Endpoints[i].In, d.Endpoints[i].Out = m.In, m.Out
		}
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if len(text) > maxDiskFile-100 {
		return nil, fmt.Errorf("%d endpoints need %d bytes, over %d", len(list), len(text), maxDiskFile)
	}
	head := fmt.Sprintf("%s %d %08x %d\n", diskMagic, diskVersion, crc32.Checksum(text, castagnoli), len(text))
	return append([]byte(head), text...), nil
}

// decodeDisk reads the content of a snapshot file that shall be of source and service.
func decodeDisk(data []byte, source, service string) ([]*Endpoint, time.Time, error) {
	fail := func(format string, args ...any) ([]*Endpoint, time.Time, error) {
		return nil, time.Time{}, fmt.Errorf(format, args...)
	}
	head, text, ok := bytes.Cut(data, []byte("\n"))
	fields := bytes.Fields(head)
	if !ok || len(fields) != 4 || string(fields[0]) != diskMagic {
		return fail("it is not a snapshot file, or is cut off")
	}
	if v := string(fields[1]); v != strconv.Itoa(diskVersion) {
		return fail("its format version is %q, and this program reads %d", clip(v), diskVersion)
	}
	if string(fields[3]) != strconv.Itoa(len(text)) || string(fields[2]) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return fail("its checksum or length is wrong: it is damaged or cut off")
	}
	var d diskSnapshot
	if err := json.Unmarshal(text, &d); err != nil {
		return fail("its text is not valid: %w", err)
	}
	if d.Source != source || d.Service != service {
		return fail("it is of service %q at %q", clip(d.Service), clip(d.Source))
	}
	list := make([]*Endpoint, len(d.Endpoints))
	for i, e := range d.Endpoints {
		ep := &Endpoint{
			ID: ID{e.Source, e.Node, e.Instance}, Service: service, Addr: e.Addr,
			Locality: Locality{e.Cloud, e.Region, e.Zone},
			Weight:   e.Weight, Health: e.Health, Protocol: e.Protocol, SPIFFEID: e.SPIFFEID,
			Tags: e.Tags, Metadata: e.Metadata,
		}
		if len(e.In)+len(e.Out) > 0 {
			ep.Marks = &Marks{In: e.In, Out: e.Out}
		}
		if err := checkEndpoint(ep); err != nil {
			return fail("endpoint %d: %w", i, err)
		}
		if i > 0 && list[i-1].ID.Compare(ep.ID) >= 0 {
			return fail("endpoint %d is not in order", i)
		}
		list[i] = ep
	}
	return list, d.AsOf, nil
}

func checkEndpoint(e *Endpoint) error {
	host, port, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return fmt.Errorf("address %q is not host:port", clip(e.Addr))
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port %q is not a number", clip(port))
	}
	if _, err := JoinAddr(host, n); err != nil {
		return err
	}
	if e.Weight < 1 || e.Weight > MaxWeight || e.Health > Critical {
		return fmt.Errorf("weight %d or health %d is out of range", e.Weight, e.Health)
	}
	return nil
}
