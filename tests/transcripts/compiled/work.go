// What Go's runtime asks of a kernel: threads, timers, signals, the network poller, processes, memory.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func workers() {
	var sum int64
	var group sync.WaitGroup
	work := make(chan int)
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range work {
				atomic.AddInt64(&sum, int64(n))
			}
		}()
	}
	for i := 1; i <= 10000; i++ {
		work <- i
	}
	close(work)
	group.Wait()
	fmt.Println("workers", sum)
}

func preempted() {
	runtime.GOMAXPROCS(1)
	var stop int32
	go func() {
		time.Sleep(20 * time.Millisecond)
		atomic.StoreInt32(&stop, 1)
	}()
	n := 0
	for atomic.LoadInt32(&stop) == 0 {
		n++
	}
	fmt.Println("preempted", n > 0)
	runtime.GOMAXPROCS(4)
}

func collected() {
	var kept [][]byte
	for i := 0; i < 2000; i++ {
		b := make([]byte, 32<<10)
		b[i] = 1
		if i%100 == 0 {
			kept = append(kept, b)
		}
	}
	runtime.GC()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", len(kept), stats.NumGC > 0, stats.HeapAlloc < 32<<20)
}

func signals() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-got)
	signal.Stop(got)
}

func recovered() {
	defer func() { fmt.Println("recovered", recover()) }()
	var nothing *int
	fmt.Println(*nothing)
}

func served() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	}))
	var all []string
	var lock sync.Mutex
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			answer, err := http.Post(fmt.Sprintf("http://%s/n%d", listener.Addr(), i), "text/plain", strings.NewReader(strings.Repeat("x", i*1000)))
			if err != nil {
				fmt.Println(err)
				return
			}
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			lock.Lock()
			all = append(all, string(text))
			lock.Unlock()
		}(i)
	}
	group.Wait()
	sort.Strings(all)
	fmt.Println(strings.Join(all, "\n"))
}

func main() {
	fmt.Println("hello from", runtime.GOOS, runtime.GOARCH)
	workers()
	preempted()
	collected()
	signals()
	recovered()
	served()
	out, err := exec.Command("sh", "-c", "echo from a child; exit 3").Output()
	var ended *exec.ExitError
	fmt.Printf("%s %v %v\n", strings.TrimSpace(string(out)), errors.As(err, &ended), err)
	late := time.After(30 * time.Millisecond)
	select {
	case <-late:
		fmt.Println("late")
	case <-time.After(10 * time.Second):
		fmt.Println("too late")
	}
	_, err = os.ReadFile("/nothing")
	fmt.Println(err)
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	fmt.Println(err)
	os.Exit(4)
}
