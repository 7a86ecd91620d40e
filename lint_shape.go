package behalf

// shapes looks at how the provider is said to differ.
func (l *linter) shapes() {
	o := l.d.OAuth
	if to := o.Authorize.Rename["state"]; to != "" && o.Callback.StateParam == "" {
		l.warn("oauth.callback.state_param", WarnStateNotRead, "The state is sent under another name, and read back under its own: no answer will be found to belong to a person.", "Enter the parameter in which the provider returns it, such as the one that it is sent in.")
	}
	if o.PKCEMethod == "plain" && o.PKCE != PKCEOff {
		l.warn("oauth.pkce_method", WarnPKCEPlain, "Whoever sees the authorization request can use a stolen code: the challenge is the verifier itself.", "Use S256, unless the provider takes nothing else.")
	}
	if o.Refresh.Grant == "access_token" && o.Refresh.Buffer < 3600 {
		l.warn("oauth.refresh.buffer", WarnLateRenewal, "A token that renews itself only while it lives is renewed in its last minutes: if nobody calls then, the person must authorize again.", "Enter a buffer of days, such as 604800 for a token of 60 days.")
	}
	if o.TokenLifetime > 0 && o.Refresh.Buffer >= o.TokenLifetime {
		l.warn("oauth.refresh.buffer", WarnBuffer, "The buffer is not shorter than a token's life; half of its life is used instead.", "Enter a shorter buffer.")
	}
	used := l.used()
	l.d.OAuth.eachCapture(func(at string, c Capture) {
		if c.Name != "" && !used[c.Name] {
			l.warn(at, WarnCaptureUnused, "The value is kept for nothing: no placeholder uses it.", "Use it in a placeholder, or take it out.")
		}
		if !c.Secret && l.d.OAuth.hides(c) {
			l.warn(at+".secret", WarnCaptureSecret, "The value is a token or a cookie and is not marked as secret; it is treated as a secret all the same, and masked.", "Mark it as secret.")
		}
	})
}

// eachStep calls do for each step with where it stands.
func (o OAuthSettings) eachStep(do func(at string, s Step)) {
	for _, list := range []struct {
		at    string
		steps []Step
	}{{"oauth.before_token", o.BeforeToken}, {"oauth.after_token", o.AfterToken}, {"oauth.post_connect", o.PostConnect}} {
		for i, s := range list.steps {
			do(indexed(list.at, i), s)
		}
	}
}

// eachCapture calls do for each captured value with where it stands.
func (o OAuthSettings) eachCapture(do func(at string, c Capture)) {
	each := func(at string, list []Capture) {
		for i, c := range list {
			do(indexed(at+".capture", i), c)
		}
	}
	each("oauth.callback", o.Callback.Capture)
	each("oauth.token", o.Token.Capture)
	each("oauth.refresh", o.Refresh.Capture)
	o.eachStep(func(at string, s Step) { each(at, s.Capture) })
}
