package mesh

import "syscall"

// releasePages gives the pages back that the runtime has zeroed, which it does where a part
// of them was in use before. They are read as zeros should anybody ever look.
func releasePages(mem []byte) {
	// Above 32 KiB the runtime shares no page between objects.
	if len(mem) > 64<<10 {
		_ = syscall.Madvise(mem, syscall.MADV_DONTNEED)
	}
}
