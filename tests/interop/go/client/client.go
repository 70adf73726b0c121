// Command client exchanges commands with a server over one connection: it sends on a timer, while a
// goroutine of its own receives. It prints "pass CHECK" or "fail CHECK: WHY" for each check.
package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

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
		fmt.Fprintln(os.Stderr, "usage: client URL")
		os.Exit(2)
	}
	failed := 0
	for _, check := range checks {
		if err := check.run(os.Args[1]); err != nil {
			fmt.Printf("fail %s: %v\n", check.name, err)
			failed++
		} else {
			fmt.Printf("pass %s\n", check.name)
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

var checks = []struct {
	name string
	run  func(address string) error
}{
	{"commands on a timer, received by another goroutine", commandsOnATimer},
	{"a command as binary", binaryCommand},
	{"a 60 KB command", largeCommand},
	{"a malformed message is answered and the connection stays", malformedMessage},
	{"a message that is too large ends the connection", tooLargeMessage},
}

func commandsOnATimer(address string) error {
	ws, err := dial(address)
	if err != nil {
		return err
	}
	defer ws.Close()
	replies := make(chan error)
	go func() {
		for n := 1; n <= commandCount; n++ {
			replies <- receiveReply(ws, n, hotDog(n))
		}
	}()
	ticker := time.NewTicker(commandInterval)
	defer ticker.Stop()
	sent, received := 0, 0
	for received < commandCount {
		select {
		case <-ticker.C:
			if sent < commandCount {
				sent++
				if err := websocket.JSON.Send(ws, Message{RequestID: sent, Command: hotDog(sent)}); err != nil {
					return fmt.Errorf("sending command %d: %w", sent, err)
				}
			}
		case err := <-replies:
			if err != nil {
				return err
			}
			received++
		}
	}
	return nil
}

func binaryCommand(address string) error {
	ws, err := dial(address)
	if err != nil {
		return err
	}
	defer ws.Close()
	// A slice of bytes goes out as a binary message.
	message := []byte(`{"requestID":7,"command":"Pause downloader","someOtherThing":"urgent","success":false}`)
	if err := websocket.Message.Send(ws, message); err != nil {
		return err
	}
	return receiveReply(ws, 7, "Pause downloader")
}

func largeCommand(address string) error {
	ws, err := dial(address)
	if err != nil {
		return err
	}
	defer ws.Close()
	message := Message{RequestID: 1, Command: "Keep", SomeOtherThing: strings.Repeat("x", 60_000)}
	if err := websocket.JSON.Send(ws, message); err != nil {
		return err
	}
	return receiveReply(ws, 1, "Keep")
}

func malformedMessage(address string) error {
	ws, err := dial(address)
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := websocket.Message.Send(ws, "no JSON"); err != nil {
		return err
	}
	var reply Message
	if err := websocket.JSON.Receive(ws, &reply); err != nil {
		return err
	}
	if reply.Success || reply.SomeOtherThing == "" {
		return fmt.Errorf("the answer to a malformed message is %+v", reply)
	}
	if err := websocket.JSON.Send(ws, Message{RequestID: 2, Command: "Go on"}); err != nil {
		return err
	}
	return receiveReply(ws, 2, "Go on")
}

func tooLargeMessage(address string) error {
	ws, err := dial(address)
	if err != nil {
		return err
	}
	defer ws.Close()
	// The package does not tell the close code, and the write may fail or not, depending on when
	// the server's Close comes.
	websocket.Message.Send(ws, strings.Repeat("x", 70_000))
	var reply string
	if err := websocket.Message.Receive(ws, &reply); err == nil {
		return fmt.Errorf("got %.80q", reply)
	} else if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		return fmt.Errorf("the connection was not ended: %w", err)
	}
	return nil
}

func dial(address string) (*websocket.Conn, error) {
	location, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	// The package always sends an Origin, and with the slash that its own example has.
	ws, err := websocket.Dial(address, "", "http://"+location.Host+"/")
	if err != nil {
		return nil, err
	}
	return ws, ws.SetDeadline(time.Now().Add(deadline))
}

func receiveReply(ws *websocket.Conn, number int, command string) error {
	var reply Message
	if err := websocket.JSON.Receive(ws, &reply); err != nil {
		return fmt.Errorf("receiving reply %d: %w", number, err)
	}
	if reply.RequestID != number || !reply.Success ||
		reply.SomeOtherThing != "Server processed command: "+command {
		return fmt.Errorf("reply %d is %+.200v", number, reply)
	}
	return nil
}

func hotDog(number int) string {
	return fmt.Sprintf("Eject the hot dog %d.", number)
}

const (
	commandCount = 5
	// Longer than the interval of the server's pings, so that each command follows one.
	commandInterval = 300 * time.Millisecond
	deadline        = 20 * time.Second
)
