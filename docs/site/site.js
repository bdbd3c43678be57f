// The search takes a name as C++ writes it: `cohold::errc::closed`, `push()`. Its query language would
// read the colon as "in the field errc".
document.querySelectorAll('.md-search__input').forEach(input => {
    const value = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
    Object.defineProperty(input, 'value', {
        get() { return value.get.call(this).replace(/[:()<>&*~^]+/g, ' ').trim(); },
        set(text) { value.set.call(this, text); },
    });
});
