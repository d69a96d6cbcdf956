"""What a person looks at: the HTTP gateway and the report page."""
