from blazeio.files.static_server import render_listing


def test_names_are_links_relative_to_the_folder() -> None:
    page = render_listing("/assets/", ["a b.txt", "folder/"]).decode()
    assert '<a href="./a%20b.txt">a b.txt</a>' in page
    assert '<a href="./folder/">folder/</a>' in page
    assert "<title>/assets/</title>" in page


def test_no_name_is_markup_or_a_scheme() -> None:
    name = '"><script>alert(1)</script>'
    page = render_listing("/<b>/", [name, "javascript:alert(1)"]).decode()
    assert "<script>" not in page
    assert "<b>" not in page
    assert 'href="./javascript%3Aalert%281%29"' in page
