package api

import (
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

func (a *API) openapi(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Cache-Control", "no-cache")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(a.huma.OpenAPI()) // the caller has gone
}

// describePlainRoutes adds to the document what huma does not serve.
func (a *API) describePlainRoutes() {
	doc := a.huma.OpenAPI()
	schemas := doc.Components.Schemas
	problem := map[string]*huma.MediaType{"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}}
	token := map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[Token](), true, "Token")}}
	body := map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[TokenBody](), true, "TokenBody")}}

	for _, o := range []*huma.Operation{
		{OperationID: "get-token", Method: http.MethodPost, Path: "/v1/assistants/{assistant}/token", Tags: []string{"tokens"}, Summary: "Get an access token that is good now",
			Description: "Never one that is about to expire. Off for new assistants: the proxy is the safe way.",
			Parameters:  []*huma.Param{inPath("assistant", "Id or slug.")}, RequestBody: &huma.RequestBody{Required: true, Content: body},
			Responses: map[string]*huma.Response{"200": {Description: "The token.", Content: token}, "default": {Description: "Not given.", Content: problem}}},
		{OperationID: "get-connection-token", Method: http.MethodPost, Path: "/v1/assistants/{assistant}/connections/{connection}/token", Tags: []string{"tokens"}, Summary: "Get the access token of one connection",
			Parameters: []*huma.Param{inPath("assistant", "Id or slug."), inPath("connection", "Id.")},
			Responses:  map[string]*huma.Response{"200": {Description: "The token.", Content: token}, "default": {Description: "Not given.", Content: problem}}},
		{OperationID: "follow-trial", Method: http.MethodGet, Path: "/v1/assistants/{assistant}/profiles/{profile}/trials/{trial}/events", Tags: []string{"trials"}, Summary: "Follow a test as it goes",
			Description: "Server-sent events. Each event `trial` holds the whole test, as its own address answers it; the last one has a status other than waiting.",
			Parameters:  []*huma.Param{inPath("assistant", "Id or slug."), inPath("profile", "Id or slug."), inPath("trial", "Id.")},
			Responses:   map[string]*huma.Response{"200": {Description: "The events.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}, "default": {Description: "Not given.", Content: problem}}},
	} {
		doc.AddOperation(o)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		doc.AddOperation(&huma.Operation{OperationID: "call-" + methodName(method), Method: method, Path: "/v1/assistants/{assistant}/proxy/{profile}/{path}", Tags: []string{"proxy"},
			Summary:     "Call the application on behalf of an end user",
			Description: "Any method. The credential is put in on the way; body and answer are streamed. An answer of ours, and not the application's, carries the header Behalf-Error.",
			Parameters: []*huma.Param{inPath("assistant", "Id or slug."), inPath("profile", "Id or slug."), inPath("path", "Below the profile's API base URL; may hold slashes."),
				inHeader("Behalf-User", "The assistant's id of the end user."), inHeader("Behalf-Connection", "A connection instead of a user."), inHeader("Behalf-Tenant", "Where the user has several."),
				inHeader("Behalf-Variables", "The context object for placeholders, as base64url of JSON.")},
			Responses: map[string]*huma.Response{"200": {Description: "Whatever the application answers."}, "default": {Description: "The application's answer, or a problem with the header Behalf-Error.", Content: problem}}})
	}
}

func methodName(m string) string {
	return map[string]string{"GET": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}[m]
}

func inPath(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Required: true, Description: doc, Schema: &huma.Schema{Type: "string"}}
}

func inHeader(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: "string"}}
}
