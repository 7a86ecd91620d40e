// Finds an element of the page, or null:
//
//   field, NAME      what a person fills in, by label, accessible name, name
//                    attribute or CSS selector
//   clickable, TEXT  a button or link by its words, or a CSS selector
//   login, PART      of a provider's sign-in or consent form: the field for the
//                    "username" or "password", or the button that says "yes"
(what, name) => {
  const yes = /allow|accept|approve|authori[sz]e|grant|continue|confirm|yes|submit|sign.?in|log.?in|next|ok/i;
  const no = /deny|reject|cancel|refuse|abort|decline|disallow|don.t/i;

  const all = (selector, root = document) =>
    [...root.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  const words = (e) => (e.innerText || e.value || e.ariaLabel || '').trim().replace(/\s+/g, ' ');
  const select = () => {
    try {
      return document.querySelector(name);
    } catch {
      return null; // not a selector
    }
  };
  const byWords = (elements, wordsOf) => {
    const wanted = name.toLowerCase();
    const equal = (e) => wordsOf(e).toLowerCase() === wanted;
    const within = (e) => wordsOf(e).toLowerCase().includes(wanted);
    return elements.find(equal) ?? elements.find(within);
  };

  const field = () => {
    const fields = all('input:not([type=hidden]), textarea, select');
    const labels = (e) => [...(e.labels ?? [])].map(words).join(' ') || e.ariaLabel || '';
    return byWords(fields, labels) ?? fields.find((e) => e.name === name) ?? select();
  };

  const clickable = () =>
    byWords(all('button, a[href], input[type=submit], summary, [role=button]'), words) ?? select();

  const login = () => {
    const isPassword = (e) => e.type === 'password' || /passw/i.test(e.name);
    const isText = (e) => ['text', 'email'].includes(e.type) && !isPassword(e);
    const buttons = (form) =>
      [...form.elements].filter((e) => e.type === 'submit' && e.checkVisibility());
    const says = (e) => yes.test(words(e)) && !no.test(words(e));

    const forms = all('form').filter((form) => buttons(form).length > 0);
    const form =
      forms.find((f) => [...f.elements].some(isPassword)) ??
      forms.find((f) => buttons(f).some(says));
    if (!form) return null;
    switch (name) {
      case 'username':
        return all('input', form).find((e) => isText(e) && !e.value && !e.readOnly);
      case 'password':
        return all('input', form).find(isPassword);
      case 'yes':
        return buttons(form).find(says) ?? buttons(form)[0];
    }
  };

  return { field, clickable, login }[what]() ?? null;
}
