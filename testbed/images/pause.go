package main

import (
	"os"
	"os/signal"
	"syscall"
)

// Holds the namespaces of a pod until it is told to end.
func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}
