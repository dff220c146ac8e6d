package mesh

import (
	"log/slog"

	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security/devca"
)

// Embedded is a whole mesh's control plane in memory: a catalog to register in
// and a development CA. Give the same Embedded to several Joins of one process
// and they are members of one mesh.
type Embedded struct {
	// Catalog holds the instances; change it from code.
	Catalog *static.Catalog
	// CA issues the identities. It is for development only and says so in its log.
	CA *devca.CA
}

// NewEmbedded makes an embedded control plane. logger takes the CA's warning; nil: none.
func NewEmbedded(logger *slog.Logger) (*Embedded, error) {
	ca, err := devca.New(devca.Config{Logger: logger})
	if err != nil {
		return nil, err
	}
	return &Embedded{Catalog: static.New(static.Config{Name: devca.DefaultCloud}), CA: ca}, nil
}
