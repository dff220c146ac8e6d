package weft

default allow := false

# Prices are for everybody.
allow if input.path == "/payment.Payment/Price"

# Only order charges.
allow if {
	input.path == "/payment.Payment/Charge"
	endswith(input.caller, "/svc/order")
}
