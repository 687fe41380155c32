// The token of a link comes in the fragment, which no server sees, and is exchanged once for a cookie of this address.
// fetch() and not a form: a navigation without a referrer would say that it comes from nowhere.

const section = document.getElementById("opening");
const form = section.querySelector("form");
const said = form.querySelector(".error");
const remembered = location.hash.slice(1);

async function open(token, password) {
  const response = await fetch(section.dataset.open, {
    method: "POST",
    body: new URLSearchParams({ token, password }),
    credentials: "same-origin",
    referrerPolicy: "no-referrer",
  });
  if (response.ok) {
    // The token leaves the address bar; the part that says what is selected stays for the run page.
    location.replace(location.pathname);
    return;
  }
  said.textContent = await response.text();
  form.hidden = false;
  form.elements.token.value = token;
  form.elements[token ? "password" : "token"].focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open(form.elements.token.value.trim(), form.elements.password.value);
});

if (remembered) {
  history.replaceState(null, "", location.pathname);
  open(remembered, "");
} else {
  form.hidden = false;
  form.elements.token.focus();
}
