// The code of an invitation comes in the fragment, which no server sees, and is handed over by POST.
const form = document.getElementById("join");
const code = decodeURIComponent(location.hash.slice(1));
if (form && code) {
  history.replaceState(null, "", location.pathname);
  form.elements.code.value = code;
  form.requestSubmit();
}
