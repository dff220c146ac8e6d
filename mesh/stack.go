package mesh

// roomy makes room on the stack of a goroutine that is new, as that of each HTTP/2
// request is, for all that is called from here on. Without it the stack is made larger
// several times in the depth of the layers, and each time all frames are copied.
//
//go:noinline
func roomy(fill bool) (sum byte) {
	if !fill { // the frame is there all the same
		return 0
	}
	var room [stackRoom]byte
	for i := range room {
		room[i] = byte(i)
		sum += room[i/2]
	}
	return sum
}

// stackRoom is what the layers in front of a handler need, and a small handler.
const stackRoom = 10 << 10
