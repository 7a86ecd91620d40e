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
	apply := op("apply-profiles", http.MethodPut, "/v1/assistants/{assistant}/profiles", "profiles", "Bring the authorization profiles into the state of a list")
	apply.MaxBodyBytes = 8 * maxBody
	handle(a, apply, a.applyProfiles)
	handle(a, op("get-profile", http.MethodGet, "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Read an authorization profile"), a.getProfile)
	handle(a, op("replace-profile", http.MethodPut, "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Replace an authorization profile"), a.replaceProfile)
	handle(a, op("delete-profile", http.MethodDelete, "/v1/assistants/{assistant}/profiles/{profile}", "profiles", "Delete an authorization profile, or say where it is used"), a.deleteProfile)
	handle(a, op("restore-profile", http.MethodPost, "/v1/assistants/{assistant}/profiles/{profile}/restore", "profiles", "Restore an authorization profile that was deleted"), a.restoreProfile)

	handle(a, created("create-trial", "/v1/assistants/{assistant}/profiles/{profile}/trials", "trials", "Test an authorization profile"), a.createTrial)
	handle(a, op("list-trials", http.MethodGet, "/v1/assistants/{assistant}/profiles/{profile}/trials", "trials", "List the tests of a profile, newest first"), a.listTrials)
	handle(a, op("get-trial", http.MethodGet, "/v1/assistants/{assistant}/profiles/{profile}/trials/{trial}", "trials", "Read a test"), a.getTrial)

	handle(a, op("list-catalog", http.MethodGet, "/v1/catalog", "profiles", "Search the known providers"), a.listCatalog)
	handle(a, op("get-catalog-entry", http.MethodGet, "/v1/catalog/{provider}", "profiles", "Read a known provider and a profile for it"), a.getCatalog)
	handle(a, op("discover", http.MethodPost, "/v1/discover", "profiles", "Draft a profile from what a server publishes of itself"), a.discover)
	handle(a, op("lint", http.MethodPost, "/v1/lint", "profiles", "Say what is probably not meant in a profile"), a.lint)

	handle(a, created("create-connect-session", "/v1/assistants/{assistant}/connect-sessions", "connect sessions", "Begin a connect session"), a.createSession)
	handle(a, op("get-connect-session", http.MethodGet, "/v1/assistants/{assistant}/connect-sessions/{session}", "connect sessions", "Read a connect session"), a.getSession)
	handle(a, op("finish-connect-session", http.MethodPost, "/v1/assistants/{assistant}/connect-sessions/{session}/finish", "connect sessions", "Finish a connect session"), a.finishSession)

	handle(a, op("get-session-transcript", http.MethodGet, "/v1/assistants/{assistant}/connect-sessions/{session}/transcript", "connect sessions", "Read what a connect session sent and received"), a.sessionTranscript)

	handle(a, created("create-own-page", "/v1/assistants/{assistant}/users/{user}/page", "users", "Make a link to an end user's own page"), a.createOwnPage)

	handle(a, op("delete-user", http.MethodDelete, "/v1/assistants/{assistant}/users/{user}", "users", "End everything of an end user"), a.deleteUser)

	handle(a, op("list-connections", http.MethodGet, "/v1/assistants/{assistant}/connections", "connections", "List connections"), a.listConnections)
	imported := op("import-connections", http.MethodPost, "/v1/assistants/{assistant}/connections/import", "connections", "Import connections that another broker held")
	imported.MaxBodyBytes = 16 * maxBody
	handle(a, imported, a.importConnections)
	handle(a, op("get-connection", http.MethodGet, "/v1/assistants/{assistant}/connections/{connection}", "connections", "Read a connection"), a.getConnection)
	handle(a, op("change-connection", http.MethodPatch, "/v1/assistants/{assistant}/connections/{connection}", "connections", "Make a connection its user's default"), a.changeConnection)
	handle(a, op("refresh-connection", http.MethodPost, "/v1/assistants/{assistant}/connections/{connection}/refresh", "connections", "Refresh a connection's credential now"), a.refreshConnection)
	handle(a, op("list-transcripts", http.MethodGet, "/v1/assistants/{assistant}/connections/{connection}/transcripts", "connections", "Read a connection's flight recorder: how it is, who must act, and what was sent and received"), a.listTranscripts)
	handle(a, op("list-generations", http.MethodGet, "/v1/assistants/{assistant}/connections/{connection}/generations", "connections", "List the last generations of a connection's credential"), a.listGenerations)
	handle(a, op("restore-generation", http.MethodPost, "/v1/assistants/{assistant}/connections/{connection}/generations/{generation}/restore", "connections", "Put an earlier generation of a connection's credential in force again"), a.restoreGeneration)
	handle(a, op("delete-connection", http.MethodDelete, "/v1/assistants/{assistant}/connections/{connection}", "connections", "End a connection"), a.deleteConnection)

	handle(a, op("list-variables", http.MethodGet, "/v1/assistants/{assistant}/variables", "variables", "List variables"), a.listVariables)
	handle(a, op("get-variable", http.MethodGet, "/v1/assistants/{assistant}/variables/{namespace}/{name}", "variables", "Read a variable"), a.getVariable)
	handle(a, op("put-variable", http.MethodPut, "/v1/assistants/{assistant}/variables/{namespace}/{name}", "variables", "Set a variable"), a.putVariable)
	handle(a, emptied("delete-variable", "/v1/assistants/{assistant}/variables/{namespace}/{name}", "variables", "Delete a variable"), a.deleteVariable)

	handle(a, op("list-events", http.MethodGet, "/v1/assistants/{assistant}/events", "events", "List events"), a.listEvents)

	const hook = "/v1/assistants/{assistant}/webhooks/{webhook}"
	handle(a, op("list-webhooks", http.MethodGet, "/v1/assistants/{assistant}/webhooks", "webhooks", "List webhooks"), a.listWebhooks)
	handle(a, created("create-webhook", "/v1/assistants/{assistant}/webhooks", "webhooks", "Create a webhook"), a.createWebhook)
	handle(a, op("get-webhook", http.MethodGet, hook, "webhooks", "Read a webhook and its health"), a.getWebhook)
	handle(a, op("change-webhook", http.MethodPatch, hook, "webhooks", "Change a webhook, enable or disable it"), a.changeWebhook)
	handle(a, emptied("delete-webhook", hook, "webhooks", "Delete a webhook"), a.deleteWebhook)
	handle(a, op("rotate-webhook", http.MethodPost, hook+"/rotate", "webhooks", "Give a webhook a new secret"), a.rotateWebhook)
	handle(a, created("test-webhook", hook+"/test", "webhooks", "Deliver a test event to a webhook"), a.testWebhook)
	handle(a, op("replay-webhook", http.MethodPost, hook+"/replay", "webhooks", "Deliver an event again, or all since a time"), a.replayWebhook)
	handle(a, op("list-deliveries", http.MethodGet, hook+"/deliveries", "webhooks", "List deliveries to a webhook, newest first"), a.listDeliveries)
	handle(a, op("get-delivery", http.MethodGet, hook+"/deliveries/{delivery}", "webhooks", "Read a delivery"), a.getDelivery)

	handle(a, op("list-connectors", http.MethodGet, "/v1/connectors", "connectors", "List connectors"), a.listConnectors)
	handle(a, created("create-connector", "/v1/connectors", "connectors", "Create a connector"), a.createConnector)
	handle(a, op("get-connector", http.MethodGet, "/v1/connectors/{connector}", "connectors", "Read a connector"), a.getConnector)
	handle(a, op("change-connector", http.MethodPatch, "/v1/connectors/{connector}", "connectors", "Enable or disable a connector"), a.changeConnector)
	handle(a, emptied("delete-connector", "/v1/connectors/{connector}", "connectors", "Delete a connector"), a.deleteConnector)
	handle(a, created("create-enrol-token", "/v1/connectors/{connector}/enrol-tokens", "connectors", "Make a token with which one more agent can enrol"), a.createEnrolToken)
	handle(a, emptied("delete-connector-agent", "/v1/connectors/{connector}/agents/{agent}", "connectors", "Revoke an agent"), a.deleteConnectorAgent)
	handle(a, op("list-connector-traffic", http.MethodGet, "/v1/connectors/{connector}/traffic", "connectors", "What went through a connector, by minutes"), a.listConnectorTraffic)

	handle(a, op("list-keys", http.MethodGet, "/v1/keys", "keys", "List keys"), a.listKeys)
	handle(a, created("create-key", "/v1/keys", "keys", "Create a key"), a.createKey)
	handle(a, emptied("delete-key", "/v1/keys/{key}", "keys", "Revoke a key"), a.deleteKey)
	handle(a, op("list-audit", http.MethodGet, "/v1/audit", "audit", "Read the newest audit lines"), a.listAudit)

	// The hot paths are plain handlers, described by hand (openapi.go).
	a.mux.HandleFunc("POST /v1/assistants/{assistant}/token", a.token)
	a.mux.HandleFunc("POST /v1/assistants/{assistant}/connections/{connection}/token", a.connectionToken)
	a.mux.HandleFunc("GET /v1/assistants/{assistant}/profiles/{profile}/trials/{trial}/events", a.trialEvents)
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
