// Package client is what Go apps import.
package client
