// Hands the fragment of the address (OAuth 2.0 implicit response, RFC 6749
// §4.2.2) to the form of the page. The token leaves the address and the history
// before anything else happens.
"use strict";
{
  const form = document.querySelector("form[data-fragment]");
  form.elements.fragment.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  form.submit();
}
