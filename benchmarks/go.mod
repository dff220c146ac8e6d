module github.com/weft-mesh/weft/benchmarks

go 1.26.0

replace github.com/weft-mesh/weft => ../

require (
	github.com/weft-mesh/weft v0.0.0-00010101000000-000000000000
	google.golang.org/grpc v1.85.0
)

require (
	golang.org/x/sys v0.48.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
