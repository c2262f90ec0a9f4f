// Command ociregistry serves an empty in-memory OCI registry with the referrers API until it is killed.
//
// It writes one line per request to standard error: method, path with query, status, bytes received, bytes sent.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

type countedBody struct {
	io.ReadCloser
	bytes int64
}

func (body *countedBody) Read(buffer []byte) (int, error) {
	count, err := body.ReadCloser.Read(buffer)
	body.bytes += int64(count)
	return count, err
}

type countedAnswer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (answer *countedAnswer) WriteHeader(status int) {
	answer.status = status
	answer.ResponseWriter.WriteHeader(status)
}

func (answer *countedAnswer) Write(data []byte) (int, error) {
	count, err := answer.ResponseWriter.Write(data)
	answer.bytes += int64(count)
	return count, err
}

func logged(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		body := &countedBody{ReadCloser: request.Body}
		answer := &countedAnswer{ResponseWriter: writer, status: http.StatusOK}
		request.Body = body
		inner.ServeHTTP(answer, request)
		fmt.Fprintln(os.Stderr, request.Method, request.URL.RequestURI(), answer.status, body.bytes, answer.bytes)
	})
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: ociregistry HOST:PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err == nil {
		err = http.Serve(listener, logged(ociserver.New(ocimem.New(), nil)))
	}
	fmt.Fprintln(os.Stderr, "ociregistry:", err)
	os.Exit(1)
}
