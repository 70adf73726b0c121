// Command server answers commands on a port of its own choice. It prints a line of JSON when it
// listens and for everything that happens on a connection; whoever started it does the checking.
//
// The scenario says how it answers: "plain", "binary", or "restart", which ends the first
// connection after two replies.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/net/websocket"
)

// Message is a command or a reply.
type Message struct {
	RequestID      int    `json:"requestID"`
	Command        string `json:"command"`
	SomeOtherThing string `json:"someOtherThing"`
	Success        bool   `json:"success"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: server plain|binary|restart")
		os.Exit(2)
	}
	scenario := os.Args[1]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The handler that the package offers first: it refuses whoever sends no Origin.
	http.Handle("/server", websocket.Handler(func(ws *websocket.Conn) { serve(ws, scenario) }))
	say(map[string]any{"event": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	os.Exit(1)
}

func serve(ws *websocket.Conn, scenario string) {
	connection := countConnection()
	say(map[string]any{"event": "open", "connection": connection})
	defer say(map[string]any{"event": "close", "connection": connection})
	for replies := 0; scenario != "restart" || connection > 1 || replies < 2; replies++ {
		var command Message
		if err := websocket.JSON.Receive(ws, &command); err != nil {
			return
		}
		say(map[string]any{"event": "message", "connection": connection, "message": command})
		reply := command
		reply.Success = true
		reply.SomeOtherThing = "Server processed command: " + command.Command
		if err := send(ws, reply, scenario); err != nil {
			return
		}
	}
}

func send(ws *websocket.Conn, reply Message, scenario string) error {
	text, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	if scenario == "binary" {
		return websocket.Message.Send(ws, text)
	}
	return websocket.Message.Send(ws, string(text))
}

var (
	lock        sync.Mutex
	connections int
)

func countConnection() int {
	lock.Lock()
	defer lock.Unlock()
	connections++
	return connections
}

func say(event map[string]any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	lock.Lock()
	defer lock.Unlock()
	fmt.Println(string(line))
}
