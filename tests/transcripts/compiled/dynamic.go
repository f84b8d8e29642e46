// A Go program that is linked with the C library.
package main

/*
#include <stdio.h>
#include <string.h>
static int add(int a, int b) { printf("in C: %d\n", a + b); fflush(stdout); return a + b; }
*/
import "C"

import (
	"fmt"
	"os/user"
	"sync"
)

func main() {
	var group sync.WaitGroup
	var lock sync.Mutex
	sum := 0
	for i := 0; i < 20; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			n := int(C.strlen(C.CString("twelve bytes")))
			lock.Lock()
			sum += n + i
			lock.Unlock()
		}(i)
	}
	group.Wait()
	fmt.Println("hello", C.add(2, 3), sum)
	me, err := user.Current()
	fmt.Println(me.Username, me.HomeDir, err)
}
