"""stub"""
def page(found): return "<html></html>"
