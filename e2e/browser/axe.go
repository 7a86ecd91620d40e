package browser

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf/e2e/servers"
)

// axeRun asks for what WCAG 2.2 AA wants, and for what axe calls best practice.
const axeRun = `axe.run(document, {resultTypes: ["violations"]}).then(found => JSON.stringify(found.violations.map(v => ({
	ID: v.id, Help: v.help, Nodes: v.nodes.slice(0, 4).map(n => n.html.slice(0, 300) + " — " + n.failureSummary),
}))))`

// violation is what axe holds against a page.
type violation struct {
	ID, Help string
	Nodes    []string
}

// Accessible fails the test where axe-core finds anything wrong with the page.
// The page's own content security policy does not stop it: the browser itself
// evaluates it.
func (b *Browser) Accessible(name string) {
	b.t.Helper()
	source, err := os.ReadFile(filepath.Join(servers.Directory(b.t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		b.t.Fatal("browser: axe-core is missing; `make deps` installs it")
	}
	b.look("come to rest")
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`"axe" in window`))
	if err == nil && !there { // since this page was opened
		_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](string(source)+";true"))
	}
	if err != nil {
		b.t.Fatalf("browser: axe: %v", err)
	}
	report, err := chromedp.Run(ctx, chromedp.Evaluate[string](axeRun, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("browser: axe: %v", err)
	}
	var found []violation
	if err := json.Unmarshal([]byte(report), &found); err != nil {
		b.t.Fatalf("browser: axe: %v", err)
	}
	for _, v := range found {
		b.t.Errorf("%s: %s (%s)", name, v.Help, v.ID)
		for _, n := range v.Nodes {
			b.t.Log("   ", n)
		}
	}
}
