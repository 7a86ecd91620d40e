package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// routes is every address of the API.
func (a *API) routes() {
	handle(a, op("list-assistants", http.MethodGet, "/v1/assistants", "assistants", "List assistants"), a.listAssistants)
	handle(a, created("create-assistant", "/v1/assistants", "assistants", "Create an assistant"), a.createAssistant)
	handle(a, op("get-assistant", http.MethodGet, "/v1/assistants/{assistant}", "assistants", "Read an assistant"), a.getAssistant)
	handle(a, op("change-assistant", http.MethodPatch, "/v1/assistants/{assistant}", "assistants", "Change an assistant"), a.changeAssistant)

	handle(a, op("list-profiles", http.MethodGet, "/v1/assistants/{assistant}/profiles", "profiles", "List authorization profiles"), a.listProfiles)
	handle(a, created("create-profile", "/v1/assistants/{assistant}/profiles", "profiles", "Create an authorization profile, or reserve its id"), a.createProfile)
	handle(a, op("get-profile", http.MethodGet, "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Read an authorization profile"), a.getProfile)
	handle(a, op("replace-profile", http.MethodPut, "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Replace an authorization profile"), a.replaceProfile)
	handle(a, emptied("delete-profile", "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Delete an authorization profile"), a.deleteProfile)

	handle(a, op("discover", http.MethodPost, "/v1/discover", "profiles", "Draft a profile from what a server publishes of itself"), a.discover)
	handle(a, op("lint", http.MethodPost, "/v1/lint", "profiles", "Say what is probably not meant in a profile"), a.lint)

	handle(a, created("create-connect-session", "/v1/assistants/{assistant}/connect-sessions", "connect sessions", "Begin a connect session"), a.createSession)
	handle(a, op("get-connect-session", http.MethodGet, "/v1/assistants/{assistant}/connect-sessions/{session}", "connect sessions", "Read a connect session"), a.getSession)
	handle(a, op("finish-connect-session", http.MethodPost, "/v1/assistants/{assistant}/connect-sessions/{session}/finish", "connect sessions", "Finish a connect session"), a.finishSession)

	handle(a, op("list-connections", http.MethodGet, "/v1/assistants/{assistant}/connections", "connections", "List connections"), a.listConnections)
	handle(a, op("get-connection", http.MethodGet, "/v1/assistants/{assistant}/connections/{connection}", "connections", "Read a connection"), a.getConnection)
	handle(a, op("change-connection", http.MethodPatch, "/v1/assistants/{assistant}/connections/{connection}", "connections", "Make a connection its user's default"), a.changeConnection)
	handle(a, op("refresh-connection", http.MethodPost, "/v1/assistants/{assistant}/connections/{connection}/refresh", "connections", "Refresh a connection's credential now"), a.refreshConnection)
	handle(a, emptied("delete-connection", "/v1/assistants/{assistant}/connections/{connection}", "connections", "End a connection"), a.deleteConnection)

	handle(a, op("list-events", http.MethodGet, "/v1/assistants/{assistant}/events", "events", "List events"), a.listEvents)

	handle(a, op("list-keys", http.MethodGet, "/v1/keys", "keys", "List keys"), a.listKeys)
	handle(a, created("create-key", "/v1/keys", "keys", "Create a key"), a.createKey)
	handle(a, emptied("delete-key", "/v1/keys/{key}", "keys", "Revoke a key"), a.deleteKey)
	handle(a, op("list-audit", http.MethodGet, "/v1/audit", "audit", "Read the newest audit lines"), a.listAudit)

	// The hot paths are plain handlers, described by hand (openapi.go).
	a.mux.HandleFunc("POST /v1/assistants/{assistant}/token", a.token)
	a.mux.HandleFunc("POST /v1/assistants/{assistant}/connections/{connection}/token", a.connectionToken)
	a.mux.HandleFunc("GET /openapi.json", a.openapi)
	a.describePlainRoutes()
}

func op(id, method, path, tag, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary}
}

func created(id, path, tag, summary string) huma.Operation {
	o := op(id, http.MethodPost, path, tag, summary)
	o.DefaultStatus = http.StatusCreated
	return o
}

func emptied(id, path, tag, summary string) huma.Operation {
	o := op(id, http.MethodDelete, path, tag, summary)
	o.DefaultStatus = http.StatusNoContent
	return o
}
